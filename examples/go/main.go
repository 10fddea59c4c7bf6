// clock answers GET /?zone=Europe/Vienna with the time there. The query may name a moment: &at=2024-07-01T12:00:00Z.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"example.org/clock/zone"
)

// Set by the linker.
var version = "development"

func answer(w http.ResponseWriter, r *http.Request) {
	moment := time.Now()
	if at := r.FormValue("at"); at != "" {
		var err error
		if moment, err = time.Parse(time.RFC3339, at); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	text, err := zone.In(moment, r.FormValue("zone"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, text)
}

func main() {
	listen := flag.String("listen", ":8080", "address to listen on")
	show := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if *show {
		fmt.Println("clock", version)
		return
	}
	http.HandleFunc("GET /", answer)
	log.Fatal(http.ListenAndServe(*listen, nil))
}
