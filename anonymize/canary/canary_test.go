package canary

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	v4 = netip.MustParseAddr("127.201.143.188")
	v6 = netip.MustParseAddr("2001:db8:7:beef:c3a5:90ff:fe12:d641")
)

const agent = "Mozilla/5.0 (Linux; Android 15; Zk81xPq94m) Chrome/142.0.0.0"

// TestFindsWhatProgramsWrite writes values as programs do, with other means than the patterns are made with.
func TestFindsWhatProgramsWrite(t *testing.T) {
	b4, m4, b6 := v4.As4(), v4.As16(), v6.As16()
	sha := sha256.Sum256([]byte(v4.String()))
	md := md5.Sum([]byte(agent))
	encoded := func(before, after string) string {
		return base64.StdEncoding.EncodeToString([]byte(before + agent + after))
	}
	inJSON, err := json.Marshal(map[string]any{"key": b4[:], "mapped": m4[:], "agent": []byte(agent)})
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"text":                                 "from " + v4.String() + ":4711",
		"a pointer's name":                     "188.143.201.127.in-addr.arpa",
		"Go's net.IP":                          string(net.ParseIP(v4.String())),
		"four bytes":                           string(b4[:]),
		"UInt32 of ClickHouse":                 string(binary.LittleEndian.AppendUint32(nil, binary.BigEndian.Uint32(b4[:]))),
		"a number":                             fmt.Sprint(binary.BigEndian.Uint32(b4[:])),
		"a mapped address":                     netip.AddrFrom16(m4).String(),
		"a mapped address in hex":              "::ffff:7fc9:8fbc",
		"hex":                                  hex.EncodeToString(b4[:]),
		"Go's %X":                              fmt.Sprintf("%X", b4),
		"Go's %v of bytes":                     fmt.Sprint(b4),
		"bytes in JSON":                        string(inJSON),
		"a crash dump's words":                 "fill({{0x0, 0xffff7fc98fbc}, 0xc0000180})",
		"SHA-256 in hex":                       fmt.Sprintf("%x", sha),
		"SHA-256 cut short":                    fmt.Sprintf("%x", sha[:8]),
		"SHA-256 in base64":                    base64.StdEncoding.EncodeToString(sha[:]),
		"CRC-32":                               fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(v4.String()))),
		"IPv6":                                 v6.String(),
		"IPv6 with brackets, escaped":          url.QueryEscape("[" + v6.String() + "]"),
		"IPv6 in capitals":                     strings.ToUpper(v6.String()),
		"IPv6 in full":                         v6.StringExpanded(),
		"IPv6 bytes":                           string(b6[:]),
		"IPv6 in two numbers":                  fmt.Sprint(binary.BigEndian.Uint64(b6[:8]), " ", binary.BigEndian.Uint64(b6[8:])),
		"the half of IPv6 that is one machine": string(b6[8:]),
		"an agent":                             "ua=" + agent,
		"an agent in lower case":               strings.ToLower(agent),
		"an agent, escaped":                    url.QueryEscape(agent),
		"an agent, escaped as a path":          url.PathEscape(agent),
		"an agent, MD5":                        hex.EncodeToString(md[:]),
		"base64 from its start":                encoded("", "!"),
		"base64 one byte on":                   encoded("x", ""),
		"base64 two bytes on":                  encoded("xy", "!!"),
		"base64 of four bytes in the middle":   base64.URLEncoding.EncodeToString(append([]byte("v="), append(b4[:], 0xff, 0x91)...)),
		"base64 of four bytes at the end":      base64.RawStdEncoding.EncodeToString(append([]byte("w"), b4[:]...)),
	} {
		s := NewSearch(Address("v4", v4), Address("v6", v6), Text("agent", agent))
		s.LookAt("test", what, []byte(text))
		found, chance := s.Findings()
		if len(found)+len(chance) == 0 {
			t.Errorf("%s is not found: %q", what, text)
		}
	}
}

func TestSelfTestFindsEveryForm(t *testing.T) {
	s := NewSearch(Address("v4", v4), Address("v6", v6), Text("agent", agent))
	if s.Forms() < 1000 {
		t.Errorf("only %d forms", s.Forms())
	}
	test := s.SelfTest()
	var file bytes.Buffer
	if _, err := test.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	missed, err := test.Missed(&file)
	if err != nil || len(missed) > 0 {
		t.Errorf("%v; not found: %q", err, missed)
	}
	// And it does not pass by itself.
	if missed, err := s.SelfTest().Missed(strings.NewReader("nothing")); err != nil || len(missed) != s.Forms() {
		t.Errorf("%d forms missed in an empty file, of %d; %v", len(missed), s.Forms(), err)
	}
	if len(s.Seen()) != 0 {
		t.Errorf("the self-test is among what was looked at: %v", s.Seen())
	}
}

// TestBorders: a value is found wherever the pieces that are read end.
func TestBorders(t *testing.T) {
	needle := []byte(v6.StringExpanded())
	for _, at := range []int{0, 1, chunkSize - len(needle), chunkSize - 20, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 3, 3 * chunkSize} {
		text := bytes.Repeat([]byte{'.'}, at)
		text = append(text, needle...)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(text), "halves": iotest.HalfReader(bytes.NewReader(text)),
			"more behind": bytes.NewReader(append(slices.Clone(text), make([]byte, 1000)...)),
		} {
			s := NewSearch(Address("v6", v6), Text("agent", agent))
			if err := s.Look("g", name, r); err != nil {
				t.Fatal(err)
			}
			found, _ := s.Findings()
			if len(found) == 0 || found[0].Times != 1 {
				t.Errorf("at %d, %s: %+v", at, name, found)
			}
		}
	}
	s := NewSearch(Text("agent", agent))
	if err := s.Look("g", "broken", iotest.ErrReader(io.ErrClosedPipe)); err == nil {
		t.Error("a file that cannot be read counts as read")
	}
}

// TestChance: random bytes hold four-byte forms, which are no finding; a program that writes
// addresses is one, though each has four bytes only.
func TestChance(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var all []Canary
	var addrs []netip.Addr
	for i := range 6 {
		a := netip.AddrFrom4([4]byte{127, byte(128 + random.Uint32N(120)), byte(128 + random.Uint32N(120)), byte(128 + random.Uint32N(120))})
		addrs = append(addrs, a)
		all = append(all, Address(fmt.Sprint("address ", i), a))
	}
	noise := make([]byte, 64<<20)
	for i := 0; i < len(noise); i += 8 {
		binary.LittleEndian.PutUint64(noise[i:], random.Uint64())
	}
	s := NewSearch(all...)
	s.LookAt("files", "noise", noise)
	found, chance := s.Findings()
	if len(found) > 0 {
		t.Errorf("found in noise: %+v", found)
	}
	t.Logf("by chance %d, expected %.1f", len(chance), s.ByChanceExpected())
	if want := s.ByChanceExpected(); float64(len(chance)) > 4*want+10 {
		t.Errorf("%d matches by chance, expected %.1f", len(chance), want)
	}
	for size, n := range map[int]int{10 << 10: 2, 1 << 20: 3, 64 << 20: 6} {
		s := NewSearch(all...)
		text := slices.Clone(noise[:size])
		for i, a := range addrs[:n] {
			b := a.As4()
			copy(text[1000*(i+1):], b[:])
		}
		s.LookAt("files", "file", text)
		if found, _ := s.Findings(); len(found) < n {
			t.Errorf("%d addresses of four bytes in %d bytes: %+v", n, size, found)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	var all []Canary
	for i := range 6 {
		all = append(all, Address(fmt.Sprint("v4 ", i), netip.AddrFrom4([4]byte{127, 201, 143, byte(180 + i)})), Text("agent", agent+fmt.Sprint(i)))
	}
	s := NewSearch(all...)
	random := make([]byte, 8<<20)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	text := []byte(strings.Repeat(`{"site":"example.org","page":"/news/2026/11/24","browser":"Firefox","n":1234567}`+"\n", 100_000))
	for name, data := range map[string][]byte{"random": random, "text": text} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s.More("g", "p", data)
			}
		})
	}
}
