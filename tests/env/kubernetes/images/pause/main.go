// Holds the namespaces of a pod: waits until it is asked to end, and collects the orphans of its pod.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			id, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err != nil || id <= 0 {
				break
			}
		}
	}
}
