package main

import (
	"container/list"
	"sync"
)

// Places for sessions that run at the same time, given in the order in which they are asked for (P10).
type places struct {
	lock  sync.Mutex // held for a moment
	free  int
	queue list.List // of channels; nobody waits while a place is free
}

// Asks for a place, without waiting: granted is closed when it is there. Whoever has asked says once that they need it no
// more, whether they got it or not.
func (p *places) ask() (granted chan struct{}, giveBack func()) {
	p.lock.Lock()
	defer p.lock.Unlock()
	granted = make(chan struct{})
	waiting := p.queue.PushBack(granted)
	p.give()
	return granted, func() {
		p.lock.Lock()
		defer p.lock.Unlock()
		select {
		case <-granted:
			p.free++
			p.give()
		default:
			p.queue.Remove(waiting)
		}
	}
}

func (p *places) give() {
	if first := p.queue.Front(); first != nil && p.free > 0 {
		p.free--
		close(p.queue.Remove(first).(chan struct{}))
	}
}
