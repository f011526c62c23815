package policy

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// A receipt's file is a JSON Web Signature in the flattened JSON serialization (RFC 7515, 7.2.2)
// with Ed25519 (RFC 8037), which any library for JWS can check. Beside its three members there is a
// fourth, "receipt", which such libraries ignore: what was signed, for people to read. [Verify]
// compares the two, so nobody can be shown something else than what was signed.

// maxReceipt bounds the file of a receipt, in bytes.
const maxReceipt = 64 << 10

type jwsFile struct {
	Receipt   json.RawMessage `json:"receipt"`
	Payload   string          `json:"payload"`
	Protected string          `json:"protected"`
	Signature string          `json:"signature"`
}

type jwsHeader struct {
	Alg string `json:"alg"`
	KID string `json:"kid"`
	Typ string `json:"typ"`
}

const receiptType = "footfall-receipt"

var b64 = base64.RawURLEncoding.Strict()

// bytes returns the file, indented.
func (f *jwsFile) bytes() ([]byte, error) {
	b, err := f.compact()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// compact returns the file without any white space, with the readable copy as it was signed.
func (f *jwsFile) compact() ([]byte, error) {
	payload, err := b64.DecodeString(f.Payload)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"receipt":`)
	if err := json.Compact(&b, payload); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, `,"payload":"%s","protected":"%s","signature":"%s"}`, f.Payload, f.Protected, f.Signature)
	return b.Bytes(), nil
}

// sign returns the file of r, and the hash that stands for it.
func sign(r *Receipt, key ed25519.PrivateKey) (file []byte, hash [sha256.Size]byte, err error) {
	var payload bytes.Buffer
	e := json.NewEncoder(&payload)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, hash, err
	}
	header, err := json.Marshal(jwsHeader{"EdDSA", thumbprint(key.Public().(ed25519.PublicKey)), receiptType})
	if err != nil {
		return nil, hash, err
	}
	signed := bytes.TrimSpace(payload.Bytes())
	f := jwsFile{Payload: b64.EncodeToString(signed), Protected: b64.EncodeToString(header)}
	f.Signature = b64.EncodeToString(ed25519.Sign(key, []byte(f.Protected+"."+f.Payload)))
	file, err = f.bytes()
	return file, sha256.Sum256(signed), err
}

// Verified is a receipt whose signature is good.
type Verified struct {
	Receipt
	KeyID string            // thumbprint of the key
	Hash  [sha256.Size]byte // of what was signed: see [Known]
}

// Errors of [Verify].
var (
	ErrNoReceipt = errors.New("this is no receipt")
	ErrSignature = errors.New("the signature is bad: the receipt was altered, or was not made by this controller")
	ErrOtherKey  = errors.New("the receipt was signed with another key than the ones given")
	ErrCopy      = errors.New("the receipt was altered: what it shows is not what was signed")
)

// Verify checks the file of a receipt against a set of keys as [Receipts.Keys] publishes it. Apart
// from white space any change of the file is found. What it returns comes from what was signed.
func Verify(file, keys []byte) (*Verified, error) {
	set, err := readKeys(keys)
	if err != nil {
		return nil, err
	}
	noReceipt := func(why string) error { return fmt.Errorf("%w: %s", ErrNoReceipt, why) }
	if len(file) > maxReceipt {
		return nil, noReceipt(fmt.Sprintf("it has more than %d bytes", maxReceipt))
	}
	var f jwsFile
	if err := json.Unmarshal(file, &f); err != nil {
		return nil, noReceipt("it is not JSON, or not of this form")
	}
	if f.Payload == "" || f.Protected == "" || f.Signature == "" {
		return nil, noReceipt("payload, protected or signature is missing")
	}
	var header jwsHeader
	protected, err := b64.DecodeString(f.Protected)
	if err != nil || json.Unmarshal(protected, &header) != nil {
		return nil, noReceipt("its header cannot be read")
	}
	if header.Alg != "EdDSA" || header.Typ != receiptType {
		return nil, noReceipt("its header names another kind of signature")
	}
	key, ok := set[header.KID]
	if !ok {
		return nil, ErrOtherKey
	}
	signature, err := b64.DecodeString(f.Signature)
	if err != nil || !ed25519.Verify(key, []byte(f.Protected+"."+f.Payload), signature) {
		return nil, ErrSignature
	}
	var given bytes.Buffer
	want, err := f.compact()
	if err != nil || json.Compact(&given, file) != nil || !bytes.Equal(given.Bytes(), want) {
		return nil, ErrCopy
	}
	payload, err := b64.DecodeString(f.Payload)
	if err != nil {
		return nil, noReceipt("its payload cannot be read")
	}
	v := &Verified{KeyID: header.KID, Hash: sha256.Sum256(payload)}
	if err := json.Unmarshal(payload, &v.Receipt); err != nil || v.SchemaVersion != SchemaVersion {
		return nil, noReceipt("its form is not one that this version knows")
	}
	return v, nil
}

// jwk is an Ed25519 public key as a JSON Web Key (RFC 8037).
type jwk struct {
	KTY string `json:"kty"`
	CRV string `json:"crv"`
	X   string `json:"x"`
	KID string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
}

type jwkSet struct {
	Keys []jwk `json:"keys"`
}

func publish(key ed25519.PublicKey) ([]byte, error) {
	b, err := json.MarshalIndent(jwkSet{[]jwk{{
		KTY: "OKP", CRV: "Ed25519", X: b64.EncodeToString(key), KID: thumbprint(key), Use: "sig", Alg: "EdDSA",
	}}}, "", "  ")
	return append(b, '\n'), err
}

// readKeys reads a set of keys, or a single one, by their thumbprints. Keys of other kinds are passed over.
func readKeys(b []byte) (map[string]ed25519.PublicKey, error) {
	var in struct {
		jwkSet
		jwk
	}
	if len(b) > maxReceipt || json.Unmarshal(b, &in) != nil {
		return nil, errors.New("the key file is no JSON Web Key, nor a set of them")
	}
	set := map[string]ed25519.PublicKey{}
	for _, k := range append(in.Keys, in.jwk) {
		x, err := b64.DecodeString(k.X)
		if k.KTY == "OKP" && k.CRV == "Ed25519" && err == nil && len(x) == ed25519.PublicKeySize {
			set[thumbprint(x)] = x
		}
	}
	if len(set) == 0 {
		return nil, errors.New("the key file holds no Ed25519 key")
	}
	return set, nil
}

// thumbprint names a key by itself (RFC 7638).
func thumbprint(key ed25519.PublicKey) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + b64.EncodeToString(key) + `"}`))
	return b64.EncodeToString(sum[:])
}

// HashText writes the hash of a receipt as the log does.
func HashText(hash [sha256.Size]byte) string { return hex.EncodeToString(hash[:]) }
