package adapters

import (
	"slices"
	"strings"
)

// nearest returns those of the known words that a mistyped one may have meant, best first, at most three.
func nearest(typed string, known []string) []string {
	type candidate struct {
		word     string
		distance int
	}
	var list []candidate
	if len(typed) > maxHole {
		return nil
	}
	for _, k := range known {
		d := distance(strings.ToLower(typed), k)
		switch lower := strings.ToLower(typed); {
		case strings.HasSuffix(k, "."+lower): // such as to, for sms.to
			d = 0
		case strings.HasPrefix(k, lower):
			d = 1
		}
		if d <= max(2, len(typed)/3) {
			list = append(list, candidate{k, d})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return a.distance - b.distance })
	var best []string
	for _, c := range list[:min(3, len(list))] {
		best = append(best, c.word)
	}
	return best
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Meant is what an error about an unknown word adds: the nearest of the known ones, if there are any.
func Meant(typed string, known []string) string {
	if near := nearest(typed, known); len(near) > 0 {
		return ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}
