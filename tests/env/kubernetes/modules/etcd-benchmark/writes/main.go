// Writes one key again and again with etcd's own client library, and prints `BEGIN END` of each write that was
// accepted, in nanoseconds since 1970. A write without an answer is given up after a moment and made again, as a client
// does that wants to go on.
//
// With `leader` as its only argument: prints the endpoint of the leader.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// attempt is how long an answer is awaited before the write is made again.
const attempt = 500 * time.Millisecond

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	files := transport.TLSInfo{
		CertFile:      os.Getenv("CERT"),
		KeyFile:       os.Getenv("KEY"),
		TrustedCAFile: os.Getenv("CA"),
	}
	config, err := files.ClientConfig()
	check(err)
	endpoints := strings.Split(os.Getenv("ENDPOINTS"), ",")
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: config, DialTimeout: 5 * time.Second})
	check(err)
	defer client.Close()
	if len(os.Args) > 1 && os.Args[1] == "leader" {
		check(leader(client, endpoints))
		return
	}
	value := strings.Repeat("x", 256)
	out := bufio.NewWriter(os.Stdout)
	for {
		begin := time.Now()
		for {
			once, cancel := context.WithTimeout(context.Background(), attempt)
			_, err := client.Put(once, "written", value)
			cancel()
			if err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		fmt.Fprintln(out, begin.UnixNano(), time.Now().UnixNano())
		if out.Flush() != nil {
			return
		}
	}
}

func leader(client *clientv3.Client, endpoints []string) error {
	var last error
	for _, endpoint := range endpoints {
		once, cancel := context.WithTimeout(context.Background(), attempt)
		status, err := client.Status(once, endpoint)
		cancel()
		if err != nil {
			last = err
			continue
		}
		if status.Leader == status.Header.MemberId {
			fmt.Println(endpoint)
			return nil
		}
	}
	return fmt.Errorf("no endpoint says that it leads: %w", last)
}
