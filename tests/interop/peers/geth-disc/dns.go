package main

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/p2p/dnsdisc"
	"github.com/ethereum/go-ethereum/p2p/enode"
)

// runDNS obeys "sign KEY DOMAIN SEQ ENR[,ENR]" and "sync URL NAMESERVER"; it says whether the command was one of these.
func runDNS(words []string) (bool, error) {
	switch {
	case words[0] == "sign" && len(words) == 5:
		return true, sign(words[1], words[2], words[3], strings.Split(words[4], ","))
	case words[0] == "sync" && len(words) == 3:
		return true, syncTree(words[1], words[2])
	case words[0] == "sign" || words[0] == "sync":
		return true, errors.New("wrong number of words")
	}
	return false, nil
}

// sign makes a list of these nodes and tells its link and its records.
func sign(secret, domain, number string, records []string) error {
	key, err := crypto.HexToECDSA(secret)
	if err != nil {
		return err
	}
	seq, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return err
	}
	var nodes []*enode.Node
	for _, record := range records {
		node, err := enode.Parse(enode.ValidSchemes, record)
		if err != nil {
			return err
		}
		nodes = append(nodes, node)
	}
	tree, err := dnsdisc.MakeTree(uint(seq), nodes, nil)
	if err != nil {
		return err
	}
	url, err := tree.Sign(key, domain)
	if err != nil {
		return err
	}
	emit("signed", fields{"url": url, "records": tree.ToTXT(domain)})
	return nil
}

// syncTree reads a list whole, over UDP from one name server.
func syncTree(url, server string) error {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return errors.New("this program stays on loopback")
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}}
	tree, err := dnsdisc.NewClient(dnsdisc.Config{Resolver: resolver}).SyncTree(url)
	if err != nil {
		return err
	}
	nodes := []string{}
	for _, node := range tree.Nodes() {
		nodes = append(nodes, node.String())
	}
	emit("synced", fields{"seq": tree.Seq(), "nodes": nodes, "links": tree.Links()})
	return nil
}
