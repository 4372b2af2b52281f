// vcsim for the interop tests: govmomi's simulator of a vCenter, with TLS and a user of its own.
// Prints one line of JSON (host, user, password) when it listens, and ends when stdin is closed.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	machines := flag.Int("vm", 2, "VMs per host pool")
	datacenters := flag.Int("dc", 2, "data centres")
	flag.Parse()

	model := simulator.VPX()
	model.Machine = *machines
	model.Datacenter = *datacenters
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()
	user := url.UserPassword("tester@vsphere.local", "right & <good>")
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: user}
	server := model.Service.NewServer()
	defer server.Close()
	password, _ := user.Password()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{
		"host": server.URL.Host, "user": user.Username(), "password": password,
	}); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
