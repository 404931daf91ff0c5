//! The Rust crate krafka, as a client of `python -m benchmarks`: takes a workload as its argument, prints a measurement.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::producer::{Acks, DeliveryHandle, Producer, Record};
use krafka::{Compression, Kafka};
use serde::{Deserialize, Serialize};

/// How many outcomes may be owed before the oldest is awaited.
const WINDOW: usize = 200_000;
const SETTLE: Duration = Duration::from_secs(1);
const RECORDS_BETWEEN_CLOCKS: usize = 1000;

#[derive(Deserialize)]
struct Workload {
    mode: String,
    bootstrap: String,
    ca_file: String,
    topics: Vec<String>,
    records: usize,
    warmup: usize,
    tasks: usize,
    seconds: f64,
    values_file: String,
    value_size: usize,
    headers: Vec<(String, String)>,
    compression: String,
    batch_size: usize,
    linger: f64,
}

#[derive(Serialize)]
struct Measurement {
    acked: usize,
    failed: usize,
    seconds: f64,
    cpu_seconds: f64,
    peak_rss_mib: f64,
    latency_us: Option<BTreeMap<&'static str, f64>>,
    records: Option<usize>,
    idle_rss_mib: Option<f64>,
}

/// What one way of sending comes to; `records` is set by those that go by time.
#[derive(Default)]
struct Outcome {
    acked: usize,
    failed: usize,
    latencies: Vec<Duration>,
    records: Option<usize>,
}

impl Outcome {
    fn take<T>(&mut self, result: krafka::Result<T>) {
        match result {
            Ok(_) => self.acked += 1,
            Err(error) => {
                self.failed += 1;
                eprintln!("a record failed: {error}");
            }
        }
    }
}

struct Run {
    producer: Producer,
    work: Workload,
    values: Vec<Bytes>,
    keys: Vec<Bytes>,
    headers: Vec<(String, Bytes)>,
}

impl Run {
    fn record(&self, number: usize) -> Record {
        let value = self.values[number % self.values.len()].clone();
        let mut record = Record::new(self.work.topics[0].as_str(), value);
        if !self.headers.is_empty() {
            record = record.key(self.keys[number % self.keys.len()].clone());
            for (name, value) in &self.headers {
                record = record.header(name.clone(), value.clone());
            }
        }
        record
    }

    /// Sends without waiting while another record is asked for, and takes each outcome.
    async fn produce(&self, more: impl Fn(usize) -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        let mut owed: VecDeque<DeliveryHandle> = VecDeque::with_capacity(WINDOW);
        let mut sent = 0;
        while more(sent) {
            if owed.len() == WINDOW {
                if let Some(oldest) = owed.pop_front() {
                    outcome.take(oldest.await);
                }
            }
            match self.producer.enqueue(self.record(sent)).await {
                Ok(handle) => owed.push_back(handle),
                Err(error) => outcome.take::<()>(Err(error)),
            }
            sent += 1;
        }
        for handle in owed {
            outcome.take(handle.await);
        }
        outcome.records = Some(sent);
        outcome
    }

    async fn awaited(&self, count: usize) -> Outcome {
        let outcome = self.produce(|sent| sent < count).await;
        Outcome { records: None, ..outcome }
    }

    async fn sustained(&self) -> Outcome {
        let end = Instant::now() + Duration::from_secs_f64(self.work.seconds);
        self.produce(|sent| sent % RECORDS_BETWEEN_CLOCKS != 0 || Instant::now() < end).await
    }

    async fn one(&self, count: usize) -> Outcome {
        let mut outcome = Outcome::default();
        for number in 0..count {
            let started = Instant::now();
            outcome.take(self.producer.send(self.record(number)).await);
            outcome.latencies.push(started.elapsed());
        }
        outcome
    }

    /// One record to each topic, and time until nothing is left to do for them.
    async fn to_each_topic(&self) -> Outcome {
        let mut outcome = Outcome::default();
        let mut owed = Vec::new();
        for (number, topic) in self.work.topics.iter().enumerate() {
            let value = self.values[number % self.values.len()].clone();
            match self.producer.enqueue(Record::new(topic.as_str(), value)).await {
                Ok(handle) => owed.push(handle),
                Err(error) => outcome.take::<()>(Err(error)),
            }
        }
        for handle in owed {
            outcome.take(handle.await);
        }
        tokio::time::sleep(SETTLE).await;
        outcome
    }
}

async fn tasks(run: &Arc<Run>, count: usize) -> Outcome {
    let each = count / run.work.tasks;
    let own: Vec<_> = (0..run.work.tasks)
        .map(|_| {
            let run = Arc::clone(run);
            tokio::spawn(async move { run.one(each).await })
        })
        .collect();
    let mut all = Outcome::default();
    for task in own {
        let one = task.await.expect("a task that sends");
        all.acked += one.acked;
        all.failed += one.failed;
        all.latencies.extend(one.latencies);
    }
    all
}

async fn warm_up(run: &Arc<Run>) {
    match run.work.mode.as_str() {
        "one" => run.one(run.work.warmup).await,
        "tasks" => tasks(run, run.work.warmup).await,
        "idle" => run.to_each_topic().await,
        _ => run.awaited(run.work.warmup).await,
    };
}

async fn measured(run: &Arc<Run>) -> Outcome {
    match run.work.mode.as_str() {
        "awaited" => run.awaited(run.work.records).await,
        "one" => run.one(run.work.records).await,
        "tasks" => tasks(run, run.work.records).await,
        "sustained" => run.sustained().await,
        "idle" => {
            tokio::time::sleep(Duration::from_secs_f64(run.work.seconds)).await;
            Outcome { acked: run.work.topics.len(), ..Outcome::default() }
        }
        other => panic!("no mode {other}"),
    }
}

fn cpu_seconds() -> f64 {
    // SAFETY: getrusage fills in the structure it is given.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// A size, "VmHWM" or "VmRSS", from Linux's account of this process, in MiB.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

fn percentiles(mut latencies: Vec<Duration>) -> Option<BTreeMap<&'static str, f64>> {
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize);
    let parts = [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)];
    parts.iter().map(|&(name, part)| Some((name, at(part)?.as_nanos() as f64 / 1e3))).collect()
}

async fn prepare(work: Workload) -> krafka::Result<Run> {
    let data = std::fs::read(&work.values_file).expect("the file of values");
    let values: Vec<_> = data.chunks(work.value_size).map(Bytes::copy_from_slice).collect();
    let mut builder = Kafka::builder(work.bootstrap.clone()).client_id("rust_krafka");
    if !work.ca_file.is_empty() {
        let trusting = TlsConfig::new().with_ca_cert(work.ca_file.clone());
        builder = builder.security(AuthConfig::ssl(trusting));
    }
    let producer = builder.connect().await?.producer();
    let producer = producer
        .acks(Acks::All)
        .idempotent(true)
        .compression(match work.compression.as_str() {
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => Compression::None,
        })
        .batch_size(work.batch_size)
        .linger(Duration::from_secs_f64(work.linger))
        .metrics_push(false)
        .build()
        .await?;
    producer.partitions_for(&work.topics[0]).await?;
    Ok(Run {
        producer,
        keys: (0..values.len()).map(|number| Bytes::from(format!("key-{number}"))).collect(),
        values,
        headers: work.headers.iter().map(|(name, value)| (name.clone(), Bytes::from(value.clone()))).collect(),
        work,
    })
}

#[tokio::main]
async fn main() -> krafka::Result<()> {
    let argument = std::env::args().nth(1).expect("a workload");
    let run = Arc::new(prepare(serde_json::from_str(&argument).expect("a workload as JSON")).await?);
    let idle = status("VmRSS");
    warm_up(&run).await;
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let outcome = measured(&run).await;
    let measurement = Measurement {
        acked: outcome.acked,
        failed: outcome.failed,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds() - cpu,
        peak_rss_mib: status("VmHWM"),
        latency_us: percentiles(outcome.latencies),
        records: outcome.records,
        idle_rss_mib: (run.work.mode == "sustained").then_some(idle),
    };
    println!("{}", serde_json::to_string(&measurement).expect("plain figures"));
    run.producer.close().await
}
