// franz-go, as a client of `python -m benchmarks`: takes a workload as its argument, prints a measurement.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type workload struct {
	Mode        string  `json:"mode"`
	Bootstrap   string  `json:"bootstrap"`
	Topic       string  `json:"topic"`
	Records     int     `json:"records"`
	Warmup      int     `json:"warmup"`
	Tasks       int     `json:"tasks"`
	ValuesFile  string  `json:"values_file"`
	ValueSize   int     `json:"value_size"`
	Compression string  `json:"compression"`
	BatchSize   int32   `json:"batch_size"`
	Linger      float64 `json:"linger"`
}

type measurement struct {
	Acked      int64              `json:"acked"`
	Failed     int64              `json:"failed"`
	Seconds    float64            `json:"seconds"`
	CPUSeconds float64            `json:"cpu_seconds"`
	PeakRSSMiB float64            `json:"peak_rss_mib"`
	LatencyUs  map[string]float64 `json:"latency_us"`
}

type run struct {
	client *kgo.Client
	work   workload
	values [][]byte
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	micros := usage.Utime.Usec + usage.Stime.Usec
	return float64(usage.Utime.Sec+usage.Stime.Sec) + float64(micros)/1e6
}

func peakRSSMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmHWM:" {
			kib, _ := strconv.ParseFloat(fields[1], 64)
			return kib / 1024
		}
	}
	return 0
}

func percentiles(latencies []time.Duration) map[string]float64 {
	if len(latencies) == 0 {
		return nil
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(part float64) float64 {
		return float64(latencies[int(float64(len(latencies))*part)].Nanoseconds()) / 1e3
	}
	return map[string]float64{"p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}
}

// awaited produces without waiting, counts each outcome in its promise, and flushes.
func (r *run) awaited(count int) (int64, int64, []time.Duration) {
	var acked, failed atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
		} else {
			acked.Add(1)
		}
	}
	for i := 0; i < count; i++ {
		r.client.Produce(context.Background(), &kgo.Record{Value: r.values[i%len(r.values)]}, promise)
	}
	check(r.client.Flush(context.Background()))
	return acked.Load(), failed.Load(), nil
}

func (r *run) one(count int) (int64, int64, []time.Duration) {
	latencies := make([]time.Duration, 0, count)
	for i := 0; i < count; i++ {
		started := time.Now()
		record := &kgo.Record{Value: r.values[i%len(r.values)]}
		check(r.client.ProduceSync(context.Background(), record).FirstErr())
		latencies = append(latencies, time.Since(started))
	}
	return int64(count), 0, latencies
}

func (r *run) tasks(count int) (int64, int64, []time.Duration) {
	each := count / r.work.Tasks
	own := make([][]time.Duration, r.work.Tasks)
	var group sync.WaitGroup
	for task := range own {
		group.Add(1)
		go func() {
			defer group.Done()
			_, _, own[task] = r.one(each)
		}()
	}
	group.Wait()
	var latencies []time.Duration
	for _, some := range own {
		latencies = append(latencies, some...)
	}
	return int64(len(latencies)), 0, latencies
}

func main() {
	var work workload
	check(json.Unmarshal([]byte(os.Args[1]), &work))
	data, err := os.ReadFile(work.ValuesFile)
	check(err)
	r := &run{work: work}
	for at := 0; at < len(data); at += work.ValueSize {
		r.values = append(r.values, data[at:at+work.ValueSize])
	}
	r.client, err = kgo.NewClient(
		kgo.SeedBrokers(strings.Split(work.Bootstrap, ",")...),
		kgo.DefaultProduceTopic(work.Topic),
		kgo.ProducerLinger(time.Duration(work.Linger*float64(time.Second))),
		kgo.ProducerBatchMaxBytes(work.BatchSize),
		kgo.ProducerBatchCompression(codecs[work.Compression]),
		kgo.MaxBufferedRecords(200_000),
	)
	check(err)
	defer r.client.Close()
	modes := map[string]func(int) (int64, int64, []time.Duration){
		"awaited": r.awaited, "one": r.one, "tasks": r.tasks,
	}
	modes[work.Mode](work.Warmup)
	started, cpu := time.Now(), cpuSeconds()
	acked, failed, latencies := modes[work.Mode](work.Records)
	seconds, cpuUsed := time.Since(started).Seconds(), cpuSeconds()-cpu
	line, err := json.Marshal(measurement{acked, failed, seconds, cpuUsed, peakRSSMiB(), percentiles(latencies)})
	check(err)
	fmt.Println(string(line))
}
