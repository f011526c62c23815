package event

// Masked is a set of kinds of personal data that were found in the texts of a hit. The
// numbers are stored: never change one.
type Masked uint16

// maskedKinds are the names of the kinds, in the order of the bits.
var maskedKinds = [...]string{"email", "phone", "ip", "card", "iban", "token"}

// Kinds returns the names of the kinds in m: email, phone, ip, card, iban, token. Bits of kinds that
// this version does not know have none.
func (m Masked) Kinds() (names []string) {
	for i, name := range maskedKinds {
		if m>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return names
}
