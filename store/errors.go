package store

import (
	"errors"
	"slices"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Codes of ClickHouse's exceptions that decide what is done next.
const (
	codeTableExists     = 57
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
	codeDatabaseExists  = 82
	codeNotEnoughRights = 497
)

// permanentCodes are the exceptions that no waiting cures: somebody has to do something.
var permanentCodes = [...]int32{
	6, 7, 8, 9, 10, 16, 20, // columns: unparsable, wrong number, missing, not in the table
	43, 44, 46, 47, 50, 53, 62, 70, // types, functions, syntax
	115,           // unknown setting
	164, 192, 193, // read only; unknown user, wrong password
	195, 291, 516, // no rights from this address, to this database; authentication failed
	codeNotEnoughRights,
}

// isException tells whether err is a ClickHouse exception with one of the codes.
func isException(err error, codes ...int32) bool {
	var e *clickhouse.Exception
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// errTable is wrapped by errors that say that a table is not as the program made it.
var errTable = errors.New("a table has been changed")

// isPermanent tells whether trying again soon is of no use.
func isPermanent(err error) bool {
	var schema *SchemaError
	return errors.As(err, &schema) || errors.Is(err, errTable) || isException(err, permanentCodes[:]...)
}
