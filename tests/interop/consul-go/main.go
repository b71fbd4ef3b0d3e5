// The program that Consul's users start from: it registers a service with the agent at 127.0.0.1:8500 (or
// CONSUL_HTTP_ADDR) and lists it. Before it exits it serves HTTP on the port that it registered, if SERVE is set.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/consul/api"
)

func main() {
	port := 8080
	if text := os.Getenv("PORT"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			log.Fatalf("PORT: %v", err)
		}
		port = number
	}
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		log.Fatalf("client: %v", err)
	}
	err = client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID:      "my-service",
		Name:    "my-service",
		Tags:    []string{"web"},
		Address: "127.0.0.1",
		Port:    port,
	})
	if err != nil {
		log.Fatalf("register: %v", err)
	}
	services, _, err := client.Catalog().Service("my-service", "", &api.QueryOptions{})
	if err != nil {
		log.Fatalf("query: %v", err)
	}
	fmt.Println("Service List:")
	for _, it := range services {
		fmt.Println(it.ServiceID, it.ServiceName, it.ServiceTags, it.Address, it.ServicePort)
	}
	if os.Getenv("SERVE") == "" {
		time.Sleep(10 * time.Second)
		return
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello from my-service, path "+r.URL.Path+"\n")
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+strconv.Itoa(port), handler))
}
