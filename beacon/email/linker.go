package email

import "time"

// Linker makes the addresses of one mail.
type Linker struct {
	Key                     *Key
	Base                    string // the public address of this Footfall without a path
	Site, Campaign, Message string // as in [Open]
	UTM                     bool   // as in [Click]
	Expires                 time.Time
}

// Pixel returns the token of the mail's pixel.
func (l *Linker) Pixel() (token string, err error) {
	return l.Key.SealOpen(Open{Site: l.Site, Campaign: l.Campaign, Message: l.Message, Expires: l.Expires})
}

// Link returns the address of a link that leads to dest.
func (l *Linker) Link(dest string) (string, error) {
	token, err := l.Key.SealClick(Click{Site: l.Site, Campaign: l.Campaign, Message: l.Message, URL: dest, UTM: l.UTM, Expires: l.Expires})
	if err != nil {
		return "", err
	}
	return ClickURL(l.Base, token), nil
}
