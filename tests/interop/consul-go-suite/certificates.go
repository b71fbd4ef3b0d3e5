package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A certificate with its key.
type identity struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Makes the files that the tests read: an authority with a server and a client, one of another name, and a folder of
// authorities.
func makeCertificates(folder string) error {
	for _, part := range []string{"client_certs", "hostname", "ca_path"} {
		if err := os.MkdirAll(filepath.Join(folder, part), 0o755); err != nil {
			return err
		}
	}
	root, err := issue("Test CA", nil)
	if err != nil {
		return err
	}
	for _, name := range []string{"server", "client"} {
		leaf, err := issue(name, root)
		if err != nil {
			return err
		}
		if err := leaf.write(filepath.Join(folder, "client_certs", name)); err != nil {
			return err
		}
	}
	if err := root.write(filepath.Join(folder, "client_certs", "rootca")); err != nil {
		return err
	}
	alice, err := issue("Alice", root)
	if err != nil {
		return err
	}
	if err := alice.write(filepath.Join(folder, "hostname", "Alice")); err != nil {
		return err
	}
	if err := root.write(filepath.Join(folder, "hostname", "CertAuth")); err != nil {
		return err
	}
	for idx := range 2 {
		other, err := issue(fmt.Sprintf("CA %d", idx), nil)
		if err != nil {
			return err
		}
		place := filepath.Join(folder, "ca_path", fmt.Sprintf("cert%d.crt", idx+1))
		if err := os.WriteFile(place, other.certificatePEM(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func issue(name string, by *identity) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	signer := &identity{template, key}
	if by == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage |= x509.KeyUsageCertSign
	} else {
		signer = by
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		template.DNSNames = []string{"localhost", "consul.test", "server.dc1.consul"}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, &key.PublicKey, signer.key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &identity{certificate, key}, nil
}

func (i *identity) certificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.certificate.Raw})
}

func (i *identity) write(path string) error {
	key, err := x509.MarshalECPrivateKey(i.key)
	if err != nil {
		return err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	if err := os.WriteFile(path+".key", keyPEM, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".crt", i.certificatePEM(), 0o644)
}
