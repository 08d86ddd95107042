package probes

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxDatagram = 4 << 10     // bytes; without EDNS a server sends 512 at most, and more over TCP
	askAgain    = time.Second // a question over UDP is sent again when it is not answered within
)

// A dialogue is one question and the way to its answer. It frames messages itself, because dns.Conn takes for TCP
// whatever is not a PacketConn, and a connection handed in may be wrapped.
type dialogue struct {
	conn   net.Conn
	stream bool // TCP: each message is preceded by its length in two bytes
	query  *dns.Msg
}

func (d *dialogue) send() error {
	room := make([]byte, 2, 2+512)
	packed, err := d.query.Pack()
	if err != nil {
		return unsure{err}
	}
	wire := append(room, packed...)
	binary.BigEndian.PutUint16(wire, uint16(len(packed)))
	if !d.stream {
		wire = wire[2:]
	}
	_, err = d.conn.Write(wire)
	return err
}

// receive reads messages until one belongs to the question.
func (d *dialogue) receive() (*dns.Msg, error) {
	buf := make([]byte, maxDatagram)
	for {
		wire, err := d.next(buf)
		if err != nil {
			return nil, err
		}
		if len(wire) < 2 || binary.BigEndian.Uint16(wire) != d.query.Id {
			continue
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(wire); err != nil {
			return nil, errors.New("the answer is no DNS message: " + err.Error())
		}
		asked := d.query.Question[0]
		if !reply.Response || len(reply.Question) == 1 && !strings.EqualFold(reply.Question[0].Name, asked.Name) {
			continue
		}
		return reply, nil
	}
}

// next reads one message.
func (d *dialogue) next(buf []byte) ([]byte, error) {
	if !d.stream {
		n, err := d.conn.Read(buf)
		return buf[:n], err
	}
	if _, err := io.ReadFull(d.conn, buf[:2]); err != nil {
		return nil, err
	}
	wire := make([]byte, binary.BigEndian.Uint16(buf))
	_, err := io.ReadFull(d.conn, wire)
	return wire, err
}

// patience sets until when to wait for the answer to a question that was just sent.
func (d *dialogue) patience(ctx context.Context) error {
	if d.stream {
		return nil // hold's deadline is the end of it
	}
	until := time.Now().Add(askAgain)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	_ = d.conn.SetReadDeadline(until)
	return ctx.Err() // a cancellation's deadline may have been overwritten by this one
}
