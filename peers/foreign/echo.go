// An echo server: a goroutine for each connection, on one P (GOMAXPROCS is 1). See src/serve.rs for the protocol.
package main

import (
	"fmt"
	"net"
	"runtime"
)

func answer(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 16*1024)
	for {
		length, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:length]); err != nil {
			return
		}
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("ready")
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	for {
		// Go sets TCP_NODELAY on every connection.
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go answer(connection)
	}
}
