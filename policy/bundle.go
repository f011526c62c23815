package policy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
)

// Bundle is an assessment with what it was made of, to be handed on. Its file is a JSON Web Signature as a
// receipt's is, with a copy to read named "bundle".
type Bundle struct {
	Note       string            `json:"note"` // [SelfAssessment]
	Versions   map[string]string `json:"versions"`
	Assessment Assessment        `json:"assessment"`
	Notices    json.RawMessage   `json:"notices"`       // as /privacy gives them to programs
	Page       string            `json:"notices_html"`  // as people read them
	Settings   map[string]string `json:"configuration"` // secrets left out
	AuditHead  string            `json:"audit_head"`
}

const (
	bundleType = "footfall-bundle"
	maxBundle  = 16 << 20
)

// SignBundle returns the file of b, signed with the installation's key of receipts.
func (r *Receipts) SignBundle(b *Bundle) ([]byte, error) {
	payload, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(jwsHeader{"EdDSA", thumbprint(r.key.Public().(ed25519.PublicKey)), bundleType})
	if err != nil {
		return nil, err
	}
	f := bundleFile{Bundle: payload, Payload: b64.EncodeToString(payload), Protected: b64.EncodeToString(header)}
	f.Signature = b64.EncodeToString(ed25519.Sign(r.key, []byte(f.Protected+"."+f.Payload)))
	file, err := json.MarshalIndent(&f, "", "  ")
	return append(file, '\n'), err
}

type bundleFile struct {
	Bundle    json.RawMessage `json:"bundle"`
	Payload   string          `json:"payload"`
	Protected string          `json:"protected"`
	Signature string          `json:"signature"`
}

// ErrBundle is wrapped by the error of a file that is no bundle, or not as it was signed.
var ErrBundle = errors.New("this is no bundle as it was signed")

// VerifyBundle checks the file of a bundle against a set of keys, as [Verify] does a receipt's, and
// returns what was signed.
func VerifyBundle(file, keys []byte) (*Bundle, error) {
	set, err := readKeys(keys)
	if err != nil {
		return nil, err
	}
	var f bundleFile
	var header jwsHeader
	if len(file) > maxBundle || json.Unmarshal(file, &f) != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrBundle)
	}
	protected, err := b64.DecodeString(f.Protected)
	if err != nil || json.Unmarshal(protected, &header) != nil || header.Alg != "EdDSA" || header.Typ != bundleType {
		return nil, fmt.Errorf("%w: its header names another kind of file", ErrBundle)
	}
	key, ok := set[header.KID]
	if !ok {
		return nil, fmt.Errorf("%w: it was signed with another key than the ones given", ErrBundle)
	}
	signature, err := b64.DecodeString(f.Signature)
	if err != nil || !ed25519.Verify(key, []byte(f.Protected+"."+f.Payload), signature) {
		return nil, fmt.Errorf("%w: the signature is bad", ErrBundle)
	}
	payload, err := b64.DecodeString(f.Payload)
	var copied bytes.Buffer
	if err != nil || json.Compact(&copied, f.Bundle) != nil || !bytes.Equal(copied.Bytes(), payload) {
		return nil, fmt.Errorf("%w: what it shows is not what was signed", ErrBundle)
	}
	b := &Bundle{}
	if err := json.Unmarshal(payload, b); err != nil {
		return nil, fmt.Errorf("%w: its payload cannot be read", ErrBundle)
	}
	return b, nil
}
