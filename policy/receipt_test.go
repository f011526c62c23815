package policy

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func receipts(t *testing.T, dir string, sites ...string) *Receipts {
	t.Helper()
	now := at(t, "2026-11-24T15:20:11.75Z")
	n, err := OpenNotices(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	var facts []Facts
	for _, s := range sites {
		f := someFacts()
		f.Site = s
		facts = append(facts, f)
	}
	update(t, n, facts...)
	r, err := OpenReceipts(dir, n, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func issue(t *testing.T, r *Receipts, act Act, site string) []byte {
	t.Helper()
	file, err := r.Issue(act, site)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestReceiptSaysWhatItMust(t *testing.T) {
	r := receipts(t, t.TempDir(), "example.org", "example.net")
	for _, act := range Acts() {
		file := issue(t, r, act, "example.org")
		var doc struct {
			Receipt map[string]any `json:"receipt"`
		}
		if err := json.Unmarshal(file, &doc); err != nil {
			t.Fatal(err)
		}
		m := doc.Receipt
		for key, want := range map[string]any{
			"schema_version": SchemaVersion, "act": string(act), "time": "2026-11-24T15:20:11Z", "presented_at": "2026-11-24T15:20:11Z",
			"controller_identity_record_id": "https://stats.example.org/privacy?site=example.org#controller",
			"notice_id":                     "https://stats.example.org/privacy?site=example.org",
			"notice_version_reference":      "https://stats.example.org/privacy/history?site=example.org#v1",
		} {
			if m[key] != want {
				t.Errorf("%s: %s is %v, want %v", act, key, m[key], want)
			}
		}
		for _, key := range []string{"receipt_id", "meaning", "notice_type", "lawful_basis", "purpose", "controller", "undo", "sites"} {
			if m[key] == nil || m[key] == "" {
				t.Errorf("%s: %s is missing", act, key)
			}
		}
		id, _ := m["receipt_id"].(string)
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
			t.Errorf("receipt id %q", id)
		}
		view := m["consent_receipt_view"].(map[string]any)
		for key, want := range map[string]any{
			"version": "KI-CR-v1.1.0", "consentTimestamp": float64(1795533611), "consentReceiptID": id, "piiPrincipalId": id,
			"sensitive": false, "jurisdiction": "DE", "policyUrl": "https://stats.example.org/privacy?site=example.org",
		} {
			if view[key] != want {
				t.Errorf("%s: the view's %s is %v, want %v", act, key, view[key], want)
			}
		}
		controller := view["piiControllers"].([]any)[0].(map[string]any)
		if controller["piiController"] != "Example e.V." || controller["contact"] != "privacy@example.org" {
			t.Errorf("controller %v", controller)
		}
		purpose := view["services"].([]any)[0].(map[string]any)["purposes"].([]any)[0].(map[string]any)
		if (purpose["consentType"] == "EXPLICIT") != (act == Consent) || purpose["thirdPartyDisclosure"] != false {
			t.Errorf("%s: purpose %v", act, purpose)
		}
		undo := m["undo"].(map[string]any)
		if _, has := undo["url"]; has == (act == Erasure) || undo["possible"] == (act == Erasure) {
			t.Errorf("%s: undo %v", act, undo)
		}
	}
	// For all sites together there is one page for all.
	v, err := Verify(issue(t, r, OptOut, ""), r.Keys())
	if err != nil || len(v.Sites) != 2 || v.NoticeID != "https://stats.example.org/privacy" || v.NoticeVersion != "https://stats.example.org/privacy/history" {
		t.Errorf("%+v, %v", v, err)
	}
	for _, site := range []string{"example.com", "EXAMPLE.ORG"} {
		if _, err := r.Issue(OptOut, site); !errors.Is(err, ErrNoSite) {
			t.Errorf("%s: %v", site, err)
		}
	}
	if _, err := r.Issue("opt-up", "example.org"); err == nil {
		t.Error("an unknown act has a receipt")
	}
}

// A library that knows RFC 7515 and 8037 and nothing of us accepts it: here are their steps, by hand.
func TestReceiptIsAStandardSignature(t *testing.T) {
	r := receipts(t, t.TempDir(), "example.org")
	var jws struct{ Payload, Protected, Signature string }
	if err := json.Unmarshal(issue(t, r, Consent, "example.org"), &jws); err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []struct{ Kty, Crv, X, Kid string }
	}
	if err := json.Unmarshal(r.Keys(), &set); err != nil || len(set.Keys) != 1 || set.Keys[0].Kty != "OKP" || set.Keys[0].Crv != "Ed25519" {
		t.Fatalf("%s, %v", r.Keys(), err)
	}
	decode := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !ed25519.Verify(decode(set.Keys[0].X), []byte(jws.Protected+"."+jws.Payload), decode(jws.Signature)) {
		t.Error("the signature is bad")
	}
	var header map[string]string
	if err := json.Unmarshal(decode(jws.Protected), &header); err != nil || header["alg"] != "EdDSA" || header["kid"] != set.Keys[0].Kid {
		t.Errorf("header %v, %v", header, err)
	}
	if bytes.Contains(r.Keys(), []byte(`"d"`)) {
		t.Error("the private key is published")
	}
}

// The example of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	set, err := readKeys([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	if err != nil || set["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"] == nil {
		t.Errorf("%v, %v", set, err)
	}
}

// Whatever bit of the file is flipped: it is refused, or it is white space and nothing else has changed.
func TestEveryFlippedBitIsFound(t *testing.T) {
	r := receipts(t, t.TempDir(), "example.org")
	file := issue(t, r, OptOut, "example.org")
	if _, err := Verify(file, r.Keys()); err != nil {
		t.Fatal(err)
	}
	compact := func(b []byte) string {
		var out bytes.Buffer
		if err := json.Compact(&out, b); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	spaces := 0
	for i := range file {
		for bit := range 8 {
			changed := bytes.Clone(file)
			changed[i] ^= 1 << bit
			v, err := Verify(changed, r.Keys())
			if err == nil {
				spaces++
				if compact(changed) != compact(file) || v.Act != OptOut {
					t.Fatalf("bit %d of byte %d can be flipped: %q", bit, i, changed)
				}
			}
		}
	}
	t.Logf("%d bits of %d bytes flipped, %d of them only changed white space", 8*len(file), len(file), spaces)
	// And the payload for itself, signed by somebody else.
	other := receipts(t, t.TempDir(), "example.org")
	if _, err := Verify(file, other.Keys()); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
}

func TestHostileReceipts(t *testing.T) {
	r := receipts(t, t.TempDir(), "example.org")
	good := issue(t, r, OptOut, "example.org")
	var f map[string]any
	if err := json.Unmarshal(good, &f); err != nil {
		t.Fatal(err)
	}
	with := func(key string, value any) []byte {
		c := map[string]any{}
		for k, v := range f {
			c[k] = v
		}
		if c[key] = value; value == nil {
			delete(c, key)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	header := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	text := string(good)
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"empty":             {nil, ErrNoReceipt},
		"no JSON":           {[]byte("\x00\xff{"), ErrNoReceipt},
		"a list":            {[]byte("[]"), ErrNoReceipt},
		"deep":              {[]byte(strings.Repeat("[", 20000)), ErrNoReceipt},
		"huge":              {bytes.Repeat([]byte(" "), maxReceipt+1), ErrNoReceipt},
		"no signature":      {with("signature", nil), ErrNoReceipt},
		"alg none":          {with("protected", header(`{"alg":"none","kid":"x","typ":"footfall-receipt"}`)), ErrNoReceipt},
		"alg HS256":         {with("protected", header(`{"alg":"HS256"}`)), ErrNoReceipt},
		"another kid":       {with("protected", header(`{"alg":"EdDSA","kid":"x","typ":"footfall-receipt"}`)), ErrOtherKey},
		"empty signature":   {with("signature", header("")), ErrNoReceipt},
		"short signature":   {with("signature", header("short")), ErrSignature},
		"another copy":      {[]byte(strings.Replace(text, `"act": "opt-out"`, `"act": "consent"`, 1)), ErrCopy},
		"no copy":           {with("receipt", nil), ErrCopy},
		"a second copy":     {[]byte(strings.Replace(text, "{", `{"receipt": {"act": "consent"},`, 1)), ErrCopy},
		"a further member":  {with("remark", "consented to everything"), ErrCopy},
		"a newline in it":   {[]byte(strings.Replace(text, `"payload": "`, `"payload": "\n`, 1)), ErrSignature},
		"something after":   {append(bytes.Clone(good), "{}"...), ErrNoReceipt},
		"an escaped member": {[]byte(strings.Replace(text, `"payload": "e`, `"payload": "\u0065`, 1)), ErrCopy},
	} {
		if _, err := Verify(c.file, r.Keys()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for _, keys := range []string{"", "{}", `{"keys":[]}`, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB"}]}`} {
		if _, err := Verify(good, []byte(keys)); err == nil || !strings.Contains(err.Error(), "key file") {
			t.Errorf("keys %q: %v", keys, err)
		}
	}
}

// The server keeps of a receipt what nobody can make it from.
func TestOnlyAHashIsKept(t *testing.T) {
	dir := t.TempDir()
	r := receipts(t, dir, "example.org")
	file := issue(t, r, Erasure, "example.org")
	v, err := Verify(file, r.Keys())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{LogFile, KeyFile, NoticesFile} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(v.ReceiptID)) {
			t.Errorf("%s holds the receipt's id", name)
		}
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	b, _ := os.ReadFile(filepath.Join(dir, LogFile))
	if want := HashText(v.Hash) + " 2026-11-24T15:20:11Z erasure\n"; string(b) != want {
		t.Errorf("the log is %q, want %q", b, want)
	}
	if when, ok, err := Known(dir, v.Hash); !ok || err != nil || when.Format(time.DateTime) != "2026-11-24 15:20:11" {
		t.Errorf("known: %v %v %v", when, ok, err)
	}
	if _, ok, err := Known(dir, sha256.Sum256(nil)); ok || err != nil {
		t.Errorf("something else is known: %v %v", ok, err)
	}
}

func TestLogSurvivesATornLine(t *testing.T) {
	dir := t.TempDir()
	r := receipts(t, dir, "example.org")
	first, _ := Verify(issue(t, r, OptOut, "example.org"), r.Keys())
	keys := bytes.Clone(r.Keys())
	r.Close()
	f, err := os.OpenFile(filepath.Join(dir, LogFile), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("0123456789abcdef 2026-11-")
	f.Close()
	r = receipts(t, dir, "example.org")
	if !bytes.Equal(keys, r.Keys()) {
		t.Error("a start made another key")
	}
	second, _ := Verify(issue(t, r, OptIn, "example.org"), r.Keys())
	for i, v := range []*Verified{first, second} {
		if _, ok, err := Known(dir, v.Hash); !ok || err != nil {
			t.Errorf("receipt %d: %v %v", i, ok, err)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(dir, LogFile)); bytes.Count(b, []byte("\n")) != 2 || bytes.Contains(b, []byte("0123456789abcdef ")) {
		t.Errorf("the log is %q", b)
	}
}

func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	r := receipts(t, dir, "example.org")
	r.max = 300
	var all []*Verified
	for range 10 {
		v, err := Verify(issue(t, r, OptOut, "example.org"), r.Keys())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	for i, v := range all[6:] {
		if _, ok, err := Known(dir, v.Hash); !ok || err != nil {
			t.Errorf("one of the newest, %d, is not known: %v", i, err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, LogFile+"*"))
	if len(files) != 2 {
		t.Errorf("files %v", files)
	}
	for _, f := range files {
		if fi, _ := os.Stat(f); fi.Size() > 400 {
			t.Errorf("%s has %d bytes", f, fi.Size())
		}
	}
}

func TestKeyIsGuarded(t *testing.T) {
	dir := t.TempDir()
	r := receipts(t, dir, "example.org")
	r.Close()
	path := filepath.Join(dir, KeyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReceipts(dir, r.notices, time.Now); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	if err := os.WriteFile(path, []byte("SECRET-ish"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Chmod(path, 0o600)
	if _, err := OpenReceipts(dir, r.notices, time.Now); err == nil || !strings.Contains(err.Error(), "backup") || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("a damaged key: %v", err)
	}
}

// What Verify accepts was signed, whatever the bytes: with a key that is thrown away, nothing new is.
func FuzzVerify(f *testing.F) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := publish(key.Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	n := Notice{Version: 3, Facts: someFacts(), Fingerprint: Fingerprint(someFacts())}
	signed := map[[32]byte]bool{}
	for _, act := range Acts() {
		file, hash, err := sign(newReceipt(act, "example.org", []Notice{n}, time.Unix(1795533611, 0)), key)
		if err != nil {
			f.Fatal(err)
		}
		signed[hash] = true
		f.Add(file)
	}
	f.Add([]byte(`{"receipt":{},"payload":"e30","protected":"e30","signature":"e30"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Verify(b, keys)
		if err != nil {
			return
		}
		if !signed[v.Hash] {
			t.Errorf("accepted what was never signed: %q", b)
		}
		var copy struct{ Receipt Receipt }
		if json.Unmarshal(b, &copy) != nil || copy.Receipt.ReceiptID != v.ReceiptID || copy.Receipt.Act != v.Act {
			t.Errorf("what it shows is not what was signed: %q", b)
		}
	})
}
