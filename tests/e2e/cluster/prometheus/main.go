// Command check-rules checks files of rules as `promtool check rules` does, for tests.
//
// Prometheus's own program brings along how it discovers targets everywhere. What it checks rules with is all that is here:
// their form, the types in their expressions, and the templates in their texts.
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

func main() {
	code := 0
	promql := parser.NewParser(parser.Options{})
	for _, file := range os.Args[1:] {
		_, errs := rulefmt.ParseFile(file, false, model.UTF8Validation, promql, slog.Default())
		for _, err := range errs {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
