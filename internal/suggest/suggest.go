// Package suggest writes the errors about mistyped words. It suggests the nearest known words, and
// decides which part of the input an error may quote.
//
// An error must never quote a value that may be a secret in the wrong place. Therefore no other
// package quotes input that it did not understand. This package imports nothing of this module. It
// is safe for concurrent use.
package suggest

import (
	"slices"
	"strconv"
	"strings"
)

// maxWord is longer than any known word, in bytes.
const maxWord = 80

// maxQuoted is the number of letters in which a quoted word may differ from a known word.
const maxQuoted = 2

// maxListed limits the list of known words, which may be all users of a configuration. maxNear
// limits it after a suggestion.
const maxListed, maxNear = 70, 12

// DidYouMean returns the suggestion at the end of an error about an unknown word: the nearest known
// words, or "" if no known word is near.
func DidYouMean(typed string, known []string) string {
	if near := nearest(typed, known); len(near) > 0 {
		return ", did you mean " + strings.Join(near, " or ") + "?"
	}
	return ""
}

// Unknown returns the error about an unknown word of a kind, such as "option". It quotes the word
// only if Quote does, and lists the known words, nearest first.
func Unknown(kind, typed string, known []string) string {
	message, meant := "unknown "+kind+Quote(typed, known), DidYouMean(typed, known)
	if meant == "" {
		meant = ";"
	}
	list, most := byDistance(typed, known), maxListed
	if meant != ";" {
		most = maxNear
	}
	if len(list) > most {
		list = append(slices.Clone(list[:most]), "…")
	}
	return message + meant + " known " + plural(kind) + ": " + strings.Join(list, ", ")
}

func plural(kind string) string {
	if rest, ok := strings.CutSuffix(kind, "y"); ok {
		return rest + "ies"
	}
	return kind + "s"
}

// Quote returns a blank and the typed word in quotes, up to = or :, if it differs by a letter or
// two from a known word or is a part of one. It returns "" otherwise, because the word may be a
// secret.
func Quote(typed string, known []string) string {
	word := name(typed)
	for _, k := range known {
		if d := distance(word, k); word != "" && d <= maxQuoted && d <= len(word)/2 || isPartOf(word, k) {
			return " " + strconv.Quote(word)
		}
	}
	return ""
}

// QuoteNumber returns a blank and a value of from, allow, deny or a column of numbers in quotes, if
// it contains nothing but digits and + - . ( ) E, as numbers and mistyped numbers do. It returns ""
// otherwise, because the value may be a secret.
func QuoteNumber(typed string) string {
	if typed == "" || len(typed) > maxWord || strings.Trim(typed, "0123456789+-.()E") != "" {
		return ""
	}
	return " " + strconv.Quote(typed)
}

// QuotePath returns a blank and a path in quotes if it ends in one of the known extensions, such as
// ".csv". It returns "" otherwise, because a word that is not a path may be a secret.
func QuotePath(typed string, extensions ...string) string {
	if len(typed) > maxPath || !slices.ContainsFunc(extensions, func(e string) bool { return len(typed) > len(e) && strings.HasSuffix(typed, e) }) {
		return ""
	}
	return " " + strconv.Quote(typed)
}

// maxPath bounds a path in an error, in bytes.
const maxPath = 1024

// name returns the part of a word before "=" or ":", such as auth_token in auth_token=SECRET.
func name(typed string) string {
	if i := strings.IndexAny(typed, "=:"); i >= 0 {
		typed = typed[:i]
	}
	if len(typed) > maxWord {
		return ""
	}
	return typed
}

// nearest returns at most 3 known words that are similar to a mistyped word, best first.
func nearest(typed string, known []string) (best []string) {
	word := name(typed)
	for _, k := range byDistance(word, known) {
		if word != "" && len(best) < 3 && distance(word, k) <= max(2, len(word)/3) {
			best = append(best, k)
		}
	}
	return best
}

// byDistance sorts the known words by their distance from a mistyped word. If none is near, it
// keeps their order.
func byDistance(typed string, known []string) []string {
	word, sorted := name(typed), slices.Clone(known)
	slices.SortStableFunc(sorted, func(a, b string) int { return distance(word, a) - distance(word, b) })
	if word == "" || len(sorted) == 0 || distance(word, sorted[0]) > max(2, len(word)/3) {
		return known
	}
	return sorted
}

// distance returns the distance between a mistyped and a known word. It is 0 if typed is the last
// part of known, such as "to" of "sms.to", at most 1 if typed is the beginning of known, and the
// Levenshtein distance otherwise.
func distance(typed, known string) int {
	typed, known = strings.ToLower(typed), strings.ToLower(known)
	switch {
	case strings.HasSuffix(known, "."+typed):
		return 0
	case strings.HasPrefix(known, typed):
		return min(1, len(known)-len(typed))
	}
	return levenshtein(typed, known)
}

func isPartOf(word, known string) bool {
	return len(word) > 1 && distance(word, known) <= 1
}

func levenshtein(a, b string) int {
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
