// franz-go, as a client of `python -m benchmarks`: takes a workload as its argument, prints a measurement.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	Mode        string      `json:"mode"`
	Bootstrap   string      `json:"bootstrap"`
	CAFile      string      `json:"ca_file"`
	Topics      []string    `json:"topics"`
	Records     int         `json:"records"`
	Warmup      int         `json:"warmup"`
	Tasks       int         `json:"tasks"`
	Seconds     float64     `json:"seconds"`
	ValuesFile  string      `json:"values_file"`
	ValueSize   int         `json:"value_size"`
	Headers     [][2]string `json:"headers"`
	Compression string      `json:"compression"`
	BatchSize   int32       `json:"batch_size"`
	Linger      float64     `json:"linger"`
}

type measurement struct {
	Acked      int64              `json:"acked"`
	Failed     int64              `json:"failed"`
	Seconds    float64            `json:"seconds"`
	CPUSeconds float64            `json:"cpu_seconds"`
	PeakRSSMiB float64            `json:"peak_rss_mib"`
	LatencyUs  map[string]float64 `json:"latency_us"`
	Records    *int64             `json:"records"`
	IdleRSSMiB *float64           `json:"idle_rss_mib"`
}

// outcome is what one way of sending comes to; records is set by those that go by time.
type outcome struct {
	acked, failed int64
	latencies     []time.Duration
	records       *int64
}

type run struct {
	client  *kgo.Client
	work    workload
	values  [][]byte
	keys    [][]byte
	headers []kgo.RecordHeader
}

const settle = time.Second
const recordsBetweenClocks = 1000

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

// status reads a size, "VmHWM" or "VmRSS", from Linux's account of this process.
func status(name string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
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

func (r *run) record(i int) *kgo.Record {
	record := &kgo.Record{Value: r.values[i%len(r.values)]}
	if r.headers != nil {
		record.Key, record.Headers = r.keys[i%len(r.keys)], r.headers
	}
	return record
}

// produce sends without waiting while another record is asked for, and counts each outcome in its promise.
func (r *run) produce(more func(int) bool) outcome {
	var acked, failed atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
		} else {
			acked.Add(1)
		}
	}
	var sent int64
	for more(int(sent)) {
		r.client.Produce(context.Background(), r.record(int(sent)), promise)
		sent++
	}
	check(r.client.Flush(context.Background()))
	return outcome{acked: acked.Load(), failed: failed.Load(), records: &sent}
}

func (r *run) awaited(count int) outcome {
	done := r.produce(func(sent int) bool { return sent < count })
	done.records = nil
	return done
}

func (r *run) sustained(int) outcome {
	end := time.Now().Add(time.Duration(r.work.Seconds * float64(time.Second)))
	return r.produce(func(sent int) bool { return sent%recordsBetweenClocks != 0 || time.Now().Before(end) })
}

func (r *run) one(count int) outcome {
	latencies := make([]time.Duration, 0, count)
	for i := 0; i < count; i++ {
		started := time.Now()
		check(r.client.ProduceSync(context.Background(), r.record(i)).FirstErr())
		latencies = append(latencies, time.Since(started))
	}
	return outcome{acked: int64(count), latencies: latencies}
}

func (r *run) tasks(count int) outcome {
	each := count / r.work.Tasks
	own := make([][]time.Duration, r.work.Tasks)
	var group sync.WaitGroup
	for task := range own {
		group.Add(1)
		go func() {
			defer group.Done()
			own[task] = r.one(each).latencies
		}()
	}
	group.Wait()
	var latencies []time.Duration
	for _, some := range own {
		latencies = append(latencies, some...)
	}
	return outcome{acked: int64(len(latencies)), latencies: latencies}
}

// toEachTopic sends one record to each and waits until nothing is left to do for them.
func (r *run) toEachTopic(int) outcome {
	records := make([]*kgo.Record, len(r.work.Topics))
	for i, topic := range r.work.Topics {
		records[i] = r.record(i)
		records[i].Topic = topic
	}
	check(r.client.ProduceSync(context.Background(), records...).FirstErr())
	time.Sleep(settle)
	return outcome{}
}

func (r *run) idle(int) outcome {
	time.Sleep(time.Duration(r.work.Seconds * float64(time.Second)))
	return outcome{acked: int64(len(r.work.Topics))}
}

func options(work workload) []kgo.Opt {
	chosen := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(work.Bootstrap, ",")...),
		kgo.DefaultProduceTopic(work.Topics[0]),
		kgo.ProducerLinger(time.Duration(work.Linger * float64(time.Second))),
		kgo.ProducerBatchMaxBytes(max(work.BatchSize, int32(work.ValueSize)+1024)),
		kgo.ProducerBatchCompression(codecs[work.Compression]),
		kgo.MaxBufferedRecords(200_000),
	}
	if work.CAFile != "" {
		authority, err := os.ReadFile(work.CAFile)
		check(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(authority)
		chosen = append(chosen, kgo.DialTLSConfig(&tls.Config{RootCAs: pool}))
	}
	return chosen
}

func prepare(work workload) *run {
	data, err := os.ReadFile(work.ValuesFile)
	check(err)
	r := &run{work: work}
	for at := 0; at < len(data); at += work.ValueSize {
		r.values = append(r.values, data[at:at+work.ValueSize])
		r.keys = append(r.keys, []byte(fmt.Sprintf("key-%d", len(r.keys))))
	}
	for _, header := range work.Headers {
		r.headers = append(r.headers, kgo.RecordHeader{Key: header[0], Value: []byte(header[1])})
	}
	r.client, err = kgo.NewClient(options(work)...)
	check(err)
	return r
}

func main() {
	var work workload
	check(json.Unmarshal([]byte(os.Args[1]), &work))
	r := prepare(work)
	defer r.client.Close()
	modes := map[string]struct{ warm, measured func(int) outcome }{
		"awaited":   {r.awaited, r.awaited},
		"one":       {r.one, r.one},
		"tasks":     {r.tasks, r.tasks},
		"sustained": {r.awaited, r.sustained},
		"idle":      {r.toEachTopic, r.idle},
	}
	mode := modes[work.Mode]
	check(r.client.Ping(context.Background()))
	idle := status("VmRSS")
	mode.warm(work.Warmup)
	started, cpu := time.Now(), cpuSeconds()
	done := mode.measured(work.Records)
	result := measurement{
		Acked: done.acked, Failed: done.failed, Seconds: time.Since(started).Seconds(), CPUSeconds: cpuSeconds() - cpu,
		PeakRSSMiB: status("VmHWM"), LatencyUs: percentiles(done.latencies), Records: done.records,
	}
	if work.Mode == "sustained" {
		result.IdleRSSMiB = &idle
	}
	line, err := json.Marshal(result)
	check(err)
	fmt.Println(string(line))
}
