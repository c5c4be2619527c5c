// A registry in memory that has the Referrers API, on a free port of the loopback.
package main

import (
	"log"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s", listener.Addr())
	// It logs one line for each request, as the other registries of the bed do.
	log.Fatal(http.Serve(listener, registry.New(registry.WithReferrersSupport(true))))
}
