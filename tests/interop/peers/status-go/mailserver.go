package main

import (
	"flag"

	"github.com/status-im/status-go/mailserver"
	"github.com/status-im/status-go/params"
)

var (
	optMail    = flag.String("mailserver", "", "archive all envelopes in this directory (LevelDB), and serve history from it")
	optMailPw  = flag.String("password", "status-offline-inbox", "the mail server's password")
	optMailPow = flag.Float64("mail-minpow", 0.001, "lowest proof of work of a request for history")
)

// startMail makes status-go a mail server, if it is to be one.
func (n *node) startMail() error {
	if *optMail == "" {
		return nil
	}
	n.mail = &mailserver.WakuMailServer{}
	err := n.mail.Init(n.w, &params.WakuConfig{DataDir: *optMail, MailServerPassword: *optMailPw, MinimumPoW: *optMailPow})
	if err != nil {
		return err
	}
	n.w.RegisterMailServer(n.mail)
	return nil
}

// stopMail closes the archive, so that others can read it.
func (n *node) stopMail() {
	if n.mail != nil {
		n.mail.Close()
	}
}
