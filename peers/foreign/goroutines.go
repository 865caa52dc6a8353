// Go's goroutines, on one P (GOMAXPROCS is 1). See src/serve.rs for the protocol.
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"
)

var input = bufio.NewReader(os.Stdin)

func requests(answer func(body string, count int) (time.Duration, int)) {
	fmt.Println("ready")
	for {
		var body string
		var count int
		if _, err := fmt.Fscanln(input, &body, &count); err != nil {
			os.Exit(0)
		}
		elapsed, operations := answer(body, count)
		fmt.Println(elapsed.Nanoseconds(), operations)
	}
}

// In the loop: a value to the other goroutine and one back, over two channels without a buffer.
func roundTrips() {
	to, back := make(chan uint64), make(chan uint64)
	go func() {
		for i := range to {
			back <- i + 1
		}
	}()
	requests(func(_ string, count int) (time.Duration, int) {
		start := time.Now()
		for i := 0; i < count; i++ {
			to <- uint64(i)
			<-back
		}
		return time.Since(start), count
	})
}

const (
	parked = iota
	warm
	registers
	stack
)

var mode, idle, sum int64

func park(wake chan struct{}, turns int64) {
	atomic.AddInt64(&sum, turns)
	atomic.AddInt64(&idle, 1)
	<-wake
}

func task(wake chan struct{}) {
	park(wake, 0)
	for {
		// Turns before the clock starts do not count: waking a million takes seconds, and the woken run meanwhile.
		for atomic.LoadInt64(&mode) == warm {
			runtime.Gosched()
		}
		var turns int64
		if atomic.LoadInt64(&mode) == registers {
			for atomic.LoadInt64(&mode) == registers {
				turns++
				runtime.Gosched()
			}
		} else {
			touched := [8]int64{}
			local := &touched[0]
			for atomic.LoadInt64(&mode) == stack {
				*local++
				runtime.Gosched()
			}
			turns = *local
		}
		park(wake, turns)
	}
}

func allParked(n int) {
	for atomic.LoadInt64(&idle) < int64(n-1) {
		runtime.Gosched()
	}
}

// In the loop: runtime.Gosched in n goroutines, of which one is the keeper (see src/rivals/ring.rs).
func turns(n int) {
	wakers := make([]chan struct{}, n-1)
	for k := range wakers {
		wakers[k] = make(chan struct{}, 1)
		go task(wakers[k])
	}
	allParked(n)
	// The turns make no garbage; what looks for it would only look at all stacks again.
	debug.SetGCPercent(-1)
	order := make([]int, n-1)
	requests(func(body string, count int) (time.Duration, int) {
		for k := range order {
			order[k] = k
		}
		if body == "shuffled" {
			rand.New(rand.NewSource(1)).Shuffle(n-1, func(a, b int) { order[a], order[b] = order[b], order[a] })
		}
		atomic.StoreInt64(&idle, 0)
		atomic.StoreInt64(&sum, 0)
		atomic.StoreInt64(&mode, warm)
		for _, k := range order {
			wakers[k] <- struct{}{}
		}
		runtime.Gosched()
		if body == "registers" {
			atomic.StoreInt64(&mode, registers)
		} else {
			atomic.StoreInt64(&mode, stack)
		}
		start := time.Now()
		for i := 0; i < count; i++ {
			runtime.Gosched()
		}
		elapsed := time.Since(start)
		atomic.StoreInt64(&mode, parked)
		allParked(n)
		return elapsed, int(sum) + count
	})
}

// In the loop: a goroutine started, and its result received.
func spawns(n int) {
	requests(func(_ string, count int) (time.Duration, int) {
		results := make(chan int, n)
		start := time.Now()
		for i := 0; i < count; i++ {
			for k := 0; k < n; k++ {
				go func(k int) { results <- k + 1 }(k)
			}
			for k := 0; k < n; k++ {
				<-results
			}
		}
		return time.Since(start), count * n
	})
}

func memory(n int) {
	fmt.Println("ready")
	input.ReadString('\n')
	never := make(chan struct{})
	for k := 0; k < n; k++ {
		if k%1000 == 0 {
			fmt.Println("at", k)
		}
		go func() {
			atomic.AddInt64(&idle, 1)
			<-never
		}()
	}
	for atomic.LoadInt64(&idle) < int64(n) {
		runtime.Gosched()
	}
	fmt.Println("held", n, "")
	input.ReadString('\n')
	os.Exit(0)
}

// In the loop, n == 2: a message there and one back. Otherwise: one from each of n producers.
func channel(n int) {
	if n == 2 {
		to, back := make(chan uint64, 1), make(chan uint64, 1)
		go func() {
			for i := range to {
				back <- i + 1
			}
		}()
		requests(func(_ string, count int) (time.Duration, int) {
			start := time.Now()
			for i := 0; i < count; i++ {
				to <- uint64(i)
				<-back
			}
			return time.Since(start), count * n
		})
	}
	requests(func(_ string, count int) (time.Duration, int) {
		from := make(chan uint64, 1024)
		for k := 0; k < n; k++ {
			go func() {
				for i := 0; i < count; i++ {
					from <- uint64(i)
				}
			}()
		}
		start := time.Now()
		for i := 0; i < count*n; i++ {
			<-from
		}
		return time.Since(start), count * n
	})
}

func main() {
	runtime.GOMAXPROCS(1)
	n, _ := strconv.Atoi(os.Args[2])
	switch os.Args[1] {
	case "switch":
		roundTrips()
	case "yield":
		turns(n)
	case "spawn":
		spawns(n)
	case "memory":
		memory(n)
	case "channel":
		channel(n)
	}
}
