// Plays the Go of docs/clients.md, which is client.go beside it: see pg_test/lib/lines.py.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

// run returns the first column of the rows.
func run(ctx context.Context, tx pgx.Tx, sql string, args ...interface{}) (values []string, err error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return nil, err
		}
		values = append(values, fmt.Sprint(row[0]))
	}
	return values, rows.Err()
}

func perform(ctx context.Context, pool *pgxpool.Pool, token string, statements []string) (values []string, err error) {
	switch {
	case len(statements) == 0:
		return notes(ctx, pool, token)
	case token == "-":
		// Two round trips, which are one transaction or, behind PgBouncer, two servers.
		err = pool.BeginFunc(ctx, func(tx pgx.Tx) (err error) {
			values, err = run(ctx, tx, statements[0])
			return err
		})
		return values, err
	}
	err = asUser(ctx, pool, token, func(tx pgx.Tx) (err error) {
		for _, statement := range statements {
			switch statement {
			case "!":
				err = errors.New("of the application")
			case "?":
				_, err = run(ctx, tx, "SELECT auth.no_such_function($1)", token)
			default:
				values, err = run(ctx, tx, statement)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return values, err
}

func line(id string, values []string, err error) string {
	fields := []string{id, "rows"}
	texts := values
	if err != nil {
		status, log := answer(err)
		fields = []string{id, "error", fmt.Sprint(status)}
		code := ""
		var e *pgconn.PgError
		if errors.As(err, &e) {
			code = e.Code
		}
		texts = []string{log, code, fmt.Sprintf("%T", err), err.Error(), fmt.Sprintf("%#v %#v", err, e)}
	}
	for _, text := range texts {
		fields = append(fields, hex.EncodeToString([]byte(text)))
	}
	return strings.Join(fields, "\t")
}

func main() {
	ctx := context.Background()
	pool, err := connect(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var lock sync.Mutex
	var requests sync.WaitGroup
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		request := strings.Split(input.Text(), "\t")
		requests.Add(1)
		go func() {
			defer requests.Done()
			values, err := perform(ctx, pool, request[1], request[2:])
			lock.Lock()
			defer lock.Unlock()
			fmt.Println(line(request[0], values, err))
		}()
	}
	requests.Wait()
	pool.Close()
}
