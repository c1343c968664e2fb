// Package memsizeui stands in for a debug page that go-ethereum v1.9 links in. The original reaches into the Go runtime by a
// name that linkers since Go 1.23 refuse; nothing here shows the page.
package memsizeui

import "net/http"

// Handler answers every request with 404.
type Handler struct{}

// Add registers nothing.
func (*Handler) Add(string, interface{}) {}

func (*Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
