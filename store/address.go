package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

const (
	addressForm     = "clickhouse://user:password@host:9000/database"
	defaultDatabase = "footfall"
	dialTimeout     = 5 * time.Second
	readTimeout     = 2 * time.Minute // between two packets, for calls without a deadline
)

// parseAddress turns the configured address of a server into the client's options. No
// error repeats the address: a password can be anywhere in one that cannot be read.
func parseAddress(address string) (*clickhouse.Options, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("store: the address cannot be read; it looks like " + addressForm +
			", with special characters of the password percent-encoded")
	}
	if u.Scheme != "clickhouse" {
		return nil, errors.New("store: the address does not begin with clickhouse://; it looks like " + addressForm)
	}
	if u.Hostname() == "" || strings.Contains(u.Host, ",") {
		return nil, errors.New("store: the address needs the name of one host: " + addressForm)
	}
	database := strings.TrimPrefix(u.Path, "/")
	if strings.ContainsAny(database, "/`\\") {
		return nil, errors.New("store: the address needs the plain name of one database: " + addressForm)
	}
	if database == "" {
		database = defaultDatabase
	}
	opt := &clickhouse.Options{
		Protocol:    clickhouse.Native,
		Auth:        clickhouse.Auth{Database: database, Username: "default"},
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		ReadTimeout: readTimeout,
	}
	if u.User != nil {
		opt.Auth.Username = u.User.Username()
		opt.Auth.Password, _ = u.User.Password()
	}
	port := "9000"
	for key, values := range u.Query() {
		if key != "secure" {
			return nil, fmt.Errorf("store: the address has an unknown parameter %q; there is only secure", key)
		}
		secure, err := strconv.ParseBool(values[0])
		if err != nil {
			return nil, errors.New("store: the address's parameter secure is neither true nor false")
		}
		if secure {
			port = "9440"
			opt.TLS = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
		}
	}
	if u.Port() != "" {
		port = u.Port()
	}
	opt.Addr = []string{net.JoinHostPort(u.Hostname(), port)}
	return opt, nil
}

// withDeadlines makes the client's dial keep the caller's deadline: its handshake knows
// only Options.DialTimeout, so a server that accepts and then says nothing would hold
// every caller for that long.
func withDeadlines(opt *clickhouse.Options) {
	if opt.DialTimeout == 0 {
		opt.DialTimeout = dialTimeout
	}
	if opt.Protocol != clickhouse.Native {
		return // HTTP requests carry their context
	}
	opt.DialStrategy = func(ctx context.Context, id int, o *clickhouse.Options, dial clickhouse.Dial) (clickhouse.DialResult, error) {
		if end, ok := ctx.Deadline(); ok {
			short := *o
			short.DialTimeout = max(min(o.DialTimeout, time.Until(end)), time.Millisecond)
			o = &short
		}
		return clickhouse.DefaultDialStrategy(ctx, id, o, dial)
	}
}
