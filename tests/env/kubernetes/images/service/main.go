// A small HTTP service that tests deploy. Its environment decides how good it is; an image or a manifest sets it.
//
//	VERSION=TEXT       what / and /version answer (default "unset")
//	PORT=N             where it listens (default 8080)
//	CRASH=DURATION     exits with 1 after so long
//	HANG=true          never listens, never ends on its own
//	READY=DURATION     /readyz answers 503 for so long; "never": for ever
//	SICK=DURATION      /healthz answers 500 after so long
//	LEAK=MIB           allocates and touches so much at the start, to be killed at its limit
//	CONFIG=PATH        a file that must exist; /config answers its content as it was at the start
//	DRAIN=DURATION     serves on for so long after SIGTERM, with /readyz answering 503
//	EXIT=CODE          ends at once with this code, as a job does
//	TERM=ignore        is not ended by SIGTERM
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

var draining atomic.Bool

func main() {
	began := time.Now()
	version := setting("VERSION", "unset")
	fmt.Printf("service %s starts\n", version)
	leak()
	config := readConfig()
	if code := os.Getenv("EXIT"); code != "" {
		fmt.Printf("service %s ends with %s\n", version, code)
		os.Exit(number("EXIT"))
	}
	if os.Getenv("HANG") == "true" {
		select {}
	}
	if os.Getenv("CRASH") != "" {
		time.AfterFunc(duration("CRASH"), func() { fatal(1, "service %s crashes, as its environment asks", version) })
	}
	answer := func(path string, status func() int, body string) {
		http.HandleFunc(path, func(writer http.ResponseWriter, _ *http.Request) {
			writer.WriteHeader(status())
			fmt.Fprintln(writer, body)
		})
	}
	fine := func() int { return http.StatusOK }
	answer("/", fine, version)
	answer("/version", fine, version)
	answer("/config", fine, config)
	answer("/readyz", func() int { return when(isReady(began), http.StatusServiceUnavailable) }, version)
	answer("/healthz", func() int { return when(!isSick(began), http.StatusInternalServerError) }, version)
	go func() {
		err := http.ListenAndServe(":"+setting("PORT", "8080"), nil)
		fatal(2, "service %s can't listen: %v", version, err)
	}()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	for range signals {
		if os.Getenv("TERM") == "ignore" {
			continue
		}
		draining.Store(true)
		time.Sleep(duration("DRAIN"))
		fmt.Printf("service %s ends\n", version)
		return
	}
}

func isReady(began time.Time) bool {
	return !draining.Load() && os.Getenv("READY") != "never" && time.Since(began) >= duration("READY")
}

func isSick(began time.Time) bool {
	return os.Getenv("SICK") != "" && time.Since(began) >= duration("SICK")
}

func when(fine bool, otherwise int) int {
	if fine {
		return http.StatusOK
	}
	return otherwise
}

func leak() {
	if os.Getenv("LEAK") == "" {
		return
	}
	held := make([]byte, number("LEAK")<<20)
	for at := 0; at < len(held); at += 4096 {
		held[at] = 1
	}
	fmt.Printf("holds %d bytes\n", len(held))
}

func readConfig() string {
	path := os.Getenv("CONFIG")
	if path == "" {
		return ""
	}
	content, err := os.ReadFile(path)
	if err != nil {
		fatal(3, "no configuration: %v", err)
	}
	return string(content)
}

func setting(key, otherwise string) string {
	if value := os.Getenv(key); value != "" {
		return value
	}
	return otherwise
}

func duration(key string) time.Duration {
	text := os.Getenv(key)
	if text == "" || text == "never" {
		return 0
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		fatal(4, "%s: %v", key, err)
	}
	return value
}

func number(key string) int {
	value, err := strconv.Atoi(os.Getenv(key))
	if err != nil {
		fatal(4, "%s: %v", key, err)
	}
	return value
}

func fatal(code int, format string, parts ...any) {
	fmt.Fprintf(os.Stderr, "fatal: "+format+"\n", parts...)
	os.Exit(code)
}
