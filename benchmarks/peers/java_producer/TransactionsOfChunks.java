import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Kafka's own Java client: transactions of so many records each, one after the other.
 *
 * Its arguments: a file of producer properties, the topic, the file of values and the size of one, the records of a
 * transaction, how many transactions warm up and how many count. It prints one line: acknowledged and failed records,
 * nanoseconds, nanoseconds of CPU, then for each transaction its nanoseconds and those of its commit.
 */
public final class TransactionsOfChunks {
    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final byte[][] values;
    private final int chunk;
    private final AtomicLong acked = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();

    private TransactionsOfChunks(Properties properties, String topic, byte[][] values, int chunk) {
        this.producer = new KafkaProducer<>(properties);
        this.topic = topic;
        this.values = values;
        this.chunk = chunk;
    }

    public static void main(String[] arguments) throws IOException {
        Properties properties = new Properties();
        try (var file = Files.newBufferedReader(Path.of(arguments[0]))) {
            properties.load(file);
        }
        byte[][] values = values(Path.of(arguments[2]), Integer.parseInt(arguments[3]));
        var program = new TransactionsOfChunks(properties, arguments[1], values, Integer.parseInt(arguments[4]));
        System.out.println(program.run(Integer.parseInt(arguments[5]), Integer.parseInt(arguments[6])));
    }

    private static byte[][] values(Path file, int size) throws IOException {
        byte[] all = Files.readAllBytes(file);
        byte[][] values = new byte[all.length / size][size];
        for (int number = 0; number < values.length; number++) {
            System.arraycopy(all, number * size, values[number], 0, size);
        }
        return values;
    }

    private String run(int warmup, int transactions) {
        var latencies = new StringBuilder();
        try (producer) {
            producer.partitionsFor(topic);
            producer.initTransactions();
            send(warmup, new StringBuilder());
            acked.set(0);
            failed.set(0);
            long cpuBefore = cpu();
            long started = System.nanoTime();
            send(transactions, latencies);
            long elapsed = System.nanoTime() - started;
            return acked.get() + " " + failed.get() + " " + elapsed + " " + (cpu() - cpuBefore) + latencies;
        }
    }

    private void send(int transactions, StringBuilder latencies) {
        for (int transaction = 0; transaction < transactions; transaction++) {
            long started = System.nanoTime();
            producer.beginTransaction();
            for (int record = 0; record < chunk; record++) {
                producer.send(new ProducerRecord<>(topic, values[record % values.length]), (metadata, error) ->
                    (error == null ? acked : failed).incrementAndGet());
            }
            producer.flush();
            long sent = System.nanoTime();
            producer.commitTransaction();
            long ended = System.nanoTime();
            latencies.append(' ').append(ended - started).append(' ').append(ended - sent);
        }
    }

    private static long cpu() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime();
    }
}
