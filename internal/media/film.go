package media

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
)

var errFilm = errors.New("not a complete film")

// containers are the boxes that are searched for metadata.
var containers = map[string]bool{"moov": true, "trak": true, "mdia": true, "minf": true, "moof": true, "traf": true, "mvex": true, "edts": true}

// xmpUUID is the type of a uuid box with XMP metadata.
const xmpUUID = "\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac"

// stripFilm renames the boxes udta and meta of an MP4 or MOV file to free and overwrites what they
// contain, which may be the place of the camera. Offsets into the file stay as they are.
// ISO/IEC 14496-12, 4.2
func stripFilm(f *os.File, size int64) error {
	boxes := maxParts
	return stripBoxes(f, 0, size, 0, &boxes)
}

func stripBoxes(f *os.File, at, end int64, depth int, boxes *int) error {
	for end-at >= 8 {
		if *boxes--; *boxes < 0 || depth > 8 {
			return errFilm
		}
		var head [32]byte
		n, err := f.ReadAt(head[:min(end-at, 32)], at)
		if err != nil && err != io.EOF || n < 8 {
			return errFilm
		}
		size, header, name := int64(binary.BigEndian.Uint32(head[:])), int64(8), string(head[4:8])
		switch size {
		case 0: // up to the end
			size = end - at
		case 1:
			size, header = int64(binary.BigEndian.Uint64(head[8:])), 16
		}
		if size < header || size > end-at {
			return errFilm
		}
		switch {
		case name == "udta", name == "meta", name == "uuid" && string(head[header:header+16]) == xmpUUID:
			err = erase(f, at, header, size)
		case containers[name]:
			err = stripBoxes(f, at+header, at+size, depth+1, boxes)
		default:
			err = nil
		}
		if err != nil {
			return err
		}
		at += size
	}
	return nil
}

// erase turns a box into free space.
func erase(f *os.File, at, header, size int64) error {
	if _, err := f.WriteAt([]byte("free"), at+4); err != nil {
		return err
	}
	zeros := make([]byte, min(size-header, 32<<10))
	for from := at + header; from < at+size; from += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), at+size-from)], from); err != nil {
			return err
		}
	}
	return nil
}
