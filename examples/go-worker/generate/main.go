// Generate makes the Go messages and stubs of the protocol from its .proto files, with Go modules alone: protocompile
// parses, and the two usual plugins write.
//
//	go run ./generate PROTO OUT
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	module   = "example.org/anyudf/go-worker"
	messages = module + "/udf"
)

// Those that a worker needs, each behind what it imports. It never sees a worker_spec.proto.
var sources = []string{
	"org/apache/spark/udf/worker/common.proto",
	"org/apache/spark/udf/worker/udf_message.proto",
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: generate PROTO OUT")
		os.Exit(2)
	}
	if err := generate(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(from, to string) error {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{from}}),
		SourceInfoMode: protocompile.SourceInfoStandard, // comments, too
	}
	files, err := compiler.Compile(context.Background(), sources...)
	if err != nil {
		return err
	}
	parameters := []string{"module=" + messages}
	var descriptors []*descriptorpb.FileDescriptorProto
	for _, file := range files {
		parameters = append(parameters, "M"+file.Path()+"="+messages)
		descriptors = append(descriptors, protoutil.ProtoFromFileDescriptor(file))
	}
	request, err := proto.Marshal(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      proto.String(strings.Join(parameters, ",")),
		ProtoFile:      descriptors,
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		made, err := run(plugin, request)
		if err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
		for _, file := range made {
			if err := os.WriteFile(filepath.Join(to, file.GetName()), []byte(file.GetContent()), 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

// One of the tools that go.mod names.
func run(plugin string, request []byte) ([]*pluginpb.CodeGeneratorResponse_File, error) {
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(request), os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, err
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(output, &response); err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s", response.GetError())
	}
	return response.GetFile(), nil
}
