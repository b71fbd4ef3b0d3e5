// Takes a lock or a place of a semaphore as Consul's users do, says so, and holds it until its standard input ends.
// Arguments: `lock KEY` or `semaphore PREFIX LIMIT`.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
)

const sessionTTL = "10s"

type holder interface {
	Acquire() (<-chan struct{}, error)
	Release() error
}

type lock struct{ *api.Lock }

func (it lock) Acquire() (<-chan struct{}, error) { return it.Lock.Lock(nil) }
func (it lock) Release() error                    { return it.Lock.Unlock() }

type semaphore struct{ *api.Semaphore }

func (it semaphore) Acquire() (<-chan struct{}, error) { return it.Semaphore.Acquire(nil) }
func (it semaphore) Release() error                    { return it.Semaphore.Release() }

func open(client *api.Client, arguments []string) (holder, error) {
	switch {
	case len(arguments) == 2 && arguments[0] == "lock":
		made, err := client.LockOpts(&api.LockOptions{
			Key:        arguments[1],
			Value:      []byte(strconv.Itoa(os.Getpid())),
			SessionTTL: sessionTTL,
			LockDelay:  time.Millisecond,
		})
		return lock{made}, err
	case len(arguments) == 3 && arguments[0] == "semaphore":
		limit, err := strconv.Atoi(arguments[2])
		if err != nil {
			return nil, err
		}
		made, err := client.SemaphoreOpts(&api.SemaphoreOptions{
			Prefix:     arguments[1],
			Limit:      limit,
			SessionTTL: sessionTTL,
		})
		return semaphore{made}, err
	}
	return nil, fmt.Errorf("usage: lock KEY | semaphore PREFIX LIMIT")
}

func main() {
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		log.Fatalf("client: %v", err)
	}
	held, err := open(client, os.Args[1:])
	if err != nil {
		log.Fatalf("open: %v", err)
	}
	lost, err := held.Acquire()
	if err != nil {
		log.Fatalf("acquire: %v", err)
	}
	fmt.Println("held")
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-lost:
		log.Fatal("lost")
	case <-ended:
	}
	if err := held.Release(); err != nil {
		log.Fatalf("release: %v", err)
	}
	fmt.Println("released")
}
