module leno.dev/interop/consul-go-suite

go 1.23.8
