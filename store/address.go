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
	if u.Hostname() == "" || strings.Contains(u.Host, ",") || strings.Contains(u.Hostname(), ":") && u.Host[0] != '[' {
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

// withContext makes the client's dial end with the caller's context: its handshake knows
// only Options.DialTimeout, so a server that accepts and then says nothing would hold
// every caller for that long, also one that has been told to stop.
func withContext(opt *clickhouse.Options) {
	if opt.DialTimeout == 0 {
		opt.DialTimeout = dialTimeout
	}
	if opt.Protocol != clickhouse.Native {
		return // HTTP requests carry their context
	}
	opt.DialContext = func(ctx context.Context, addr string) (c net.Conn, err error) {
		if opt.TLS != nil {
			c, err = (&tls.Dialer{Config: opt.TLS}).DialContext(ctx, "tcp", addr)
		} else {
			c, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
		if d, ok := ctx.Value(dialKey{}).(*dialing); ok && err == nil {
			d.opened(ctx, c)
		}
		return c, err
	}
	opt.DialStrategy = func(ctx context.Context, id int, o *clickhouse.Options, dial clickhouse.Dial) (clickhouse.DialResult, error) {
		d := new(dialing)
		result, err := clickhouse.DefaultDialStrategy(context.WithValue(ctx, dialKey{}, d), id, o, dial)
		if err == nil && d.stopped() {
			err = errors.New("interrupted")
		}
		if err != nil {
			d.close()
			if ctx.Err() != nil {
				err = fmt.Errorf("connecting: %w", context.Cause(ctx))
			}
		}
		return result, err
	}
}

// dialing is a connection whose handshake is under way. While it is, the end of the
// context closes it.
type dialing struct {
	conn net.Conn
	stop func() bool
}

type dialKey struct{}

func (d *dialing) opened(ctx context.Context, c net.Conn) {
	d.conn = c
	d.stop = context.AfterFunc(ctx, func() { c.Close() })
}

// stopped ends the watch and tells whether it has closed the connection.
func (d *dialing) stopped() bool { return d.stop != nil && !d.stop() }

// close closes the connection: the client leaves one open whose handshake has failed.
func (d *dialing) close() {
	if d.conn != nil {
		d.stop()
		d.conn.Close()
	}
}
