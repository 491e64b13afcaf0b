// Verifies the folder of an audit log with golang.org/x/mod/sumdb, which shares no code with Limen: the
// checkpoint's signature, every tile, every entry, and proofs of inclusion and consistency.
//
//	go run . DIR VKEY
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

type folder string

func (folder) Height() int                     { return height }
func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles reads tiles under C2SP names, which lack the height that the Go names begin with.
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
		bytes, err := os.ReadFile(filepath.Join(string(f), "tile", strings.Replace(path, "data", "entries", 1)))
		if err != nil {
			return nil, err
		}
		data[i] = bytes
	}
	return data, nil
}

func check(err error, format string, args ...any) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", fmt.Sprintf(format, args...), err)
		os.Exit(1)
	}
}

// openTree returns the tree that a signed checkpoint states.
func openTree(dir folder, vkey string) tlog.Tree {
	verifier, err := note.NewVerifier(vkey)
	check(err, "verifier key")
	bytes, err := os.ReadFile(filepath.Join(string(dir), "checkpoint"))
	check(err, "checkpoint")
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	check(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		check(fmt.Errorf("not three lines of this origin"), "checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err, "checkpoint size")
	root, err := base64.StdEncoding.DecodeString(lines[2])
	check(err, "checkpoint root")
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree
}

// checkBundle holds the entries of bundle n against the authenticated leaf hashes.
func checkBundle(dir folder, hashes tlog.HashReader, n, size int64) {
	first := n << height
	tile := tlog.Tile{H: height, L: -1, N: n, W: int(min(size-first, 1<<height))}
	data, err := dir.ReadTiles([]tlog.Tile{tile})
	check(err, "entries from %d", first)
	rest := data[0]
	indexes := make([]int64, tile.W)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
	}
	want, err := hashes.ReadHashes(indexes)
	check(err, "tiles of entries from %d", first)
	for i := range indexes {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			check(fmt.Errorf("cut short"), "entry %d", first+int64(i))
		}
		end := 2 + int(binary.BigEndian.Uint16(rest))
		if tlog.RecordHash(rest[2:end]) != want[i] {
			check(fmt.Errorf("is not the one in the tree"), "entry %d", first+int64(i))
		}
		rest = rest[end:]
	}
	if len(rest) > 0 {
		check(fmt.Errorf("%d bytes too many", len(rest)), "entries from %d", first)
	}
}

// checkProofs proves one entry, and that the tree continues the one that ended with it.
func checkProofs(hashes tlog.HashReader, tree tlog.Tree, index int64) {
	leaf, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	check(err, "leaf %d", index)
	inclusion, err := tlog.ProveRecord(tree.N, index, hashes)
	check(err, "inclusion of %d", index)
	check(tlog.CheckRecord(inclusion, tree.N, tree.Hash, index, leaf[0]), "inclusion of %d", index)
	older, err := tlog.TreeHash(index+1, hashes)
	check(err, "tree of %d", index+1)
	consistency, err := tlog.ProveTree(tree.N, index+1, hashes)
	check(err, "consistency with %d", index+1)
	check(tlog.CheckTree(consistency, tree.N, tree.Hash, index+1, older), "consistency with %d", index+1)
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: go run . DIR VKEY")
		os.Exit(2)
	}
	dir := folder(os.Args[1])
	tree := openTree(dir, os.Args[2])
	hashes := tlog.TileHashReader(tree, dir)
	for n := int64(0); n<<height < tree.N; n++ {
		checkBundle(dir, hashes, n, tree.N)
	}
	for step, index := tree.N/50+1, int64(0); index < tree.N; index += step {
		checkProofs(hashes, tree, index)
	}
	fmt.Printf("verified %d entries\n", tree.N)
}
