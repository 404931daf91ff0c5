import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Utils;

/** Writes record batches made by Kafka's own builder, murmur2 vectors and digests, into the folder named. */
public final class GoldenBatches {
    private static final long NOW = 1_700_000_000_000L;

    private record Rec(long timestamp, byte[] key, byte[] value, Header... headers) {}

    private record Producer(long id, short epoch, int sequence, boolean transactional) {}

    private record Case(Producer producer, List<Rec> records) {}

    private static final Producer NOBODY =
        new Producer(RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false);

    public static void main(String[] arguments) throws IOException {
        Path folder = Path.of(arguments[0]);
        Files.createDirectories(folder);
        StringBuilder index = new StringBuilder("{\n \"kafka\": \"" + arguments[1] + "\",\n \"cases\": {\n");
        StringBuilder batches = new StringBuilder(" \"batches\": [\n");
        for (Map.Entry<String, Case> entry : cases().entrySet()) {
            appendCase(index, entry.getKey(), entry.getValue());
            for (CompressionType codec : CompressionType.values()) {
                String file = entry.getKey() + "." + codec.name + ".bin";
                byte[] bytes = build(codec, entry.getValue());
                Files.write(folder.resolve(file), bytes);
                batches.append(String.format(
                    "  {\"file\": \"%s\", \"case\": \"%s\", \"compression\": \"%s\", \"size\": %d},%n",
                    file, entry.getKey(), codec.name, bytes.length));
            }
        }
        dropComma(index).append(" },\n").append(dropComma(batches)).append(" ]\n}\n");
        Files.writeString(folder.resolve("index.json"), index);
        Files.writeString(folder.resolve("murmur2.tsv"), murmur2Vectors());
        Files.writeString(folder.resolve("murmur2-digests.tsv"), murmur2Digests());
    }

    private static byte[] build(CompressionType codec, Case made) {
        Producer producer = made.producer();
        MemoryRecordsBuilder builder = MemoryRecords.builder(
            ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, Compression.of(codec).build(),
            TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP, producer.id(), producer.epoch(),
            producer.sequence(), producer.transactional(), RecordBatch.NO_PARTITION_LEADER_EPOCH);
        for (Rec rec : made.records()) {
            builder.append(rec.timestamp(), rec.key(), rec.value(), rec.headers());
        }
        ByteBuffer buffer = builder.build().buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private static Map<String, Case> cases() {
        Map<String, Case> cases = new LinkedHashMap<>();
        List<Rec> five = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            five.add(new Rec(NOW + i, utf8("key-" + i), utf8("value-" + i)));
        }
        List<Rec> many = new ArrayList<>();
        for (int i = 0; i < 500; i++) {
            many.add(new Rec(NOW + i / 3, utf8("user-" + i % 17), utf8("payload number " + i + " of many")));
        }
        cases.put("single", new Case(NOBODY, List.of(new Rec(NOW, utf8("key"), utf8("value")))));
        cases.put("many", new Case(NOBODY, many));
        cases.put("headers", new Case(NOBODY, List.of(
            new Rec(NOW, utf8("k"), utf8("v"), header("trace", utf8("0af7651916cd43dd")), header("n", new byte[] {0, -1})),
            new Rec(NOW, null, utf8("v"), header("twice", utf8("1")), header("twice", utf8("2"))),
            new Rec(NOW, utf8("k"), utf8("none")))));
        cases.put("null-key-or-value", new Case(NOBODY, List.of(
            new Rec(NOW, null, utf8("v")), new Rec(NOW, utf8("k"), null), new Rec(NOW, null, null))));
        cases.put("empty-key-or-value", new Case(NOBODY, List.of(
            new Rec(NOW, new byte[0], utf8("v")), new Rec(NOW, utf8("k"), new byte[0]),
            new Rec(NOW, new byte[0], new byte[0]), new Rec(NOW, null, new byte[0]))));
        cases.put("null-header-value", new Case(NOBODY, List.of(
            new Rec(NOW, null, utf8("v"), header("null", null), header("empty", new byte[0]), header("", utf8("x"))))));
        cases.put("unicode-header-keys", new Case(NOBODY, List.of(
            new Rec(NOW, null, utf8("v"), header("ключ", utf8("значение")), header("鍵", null),
                header("🔑", utf8("🗝")), header("e\u0301", utf8("combining"))))));
        cases.put("timestamps-out-of-order", new Case(NOBODY, List.of(
            new Rec(NOW, null, utf8("0")), new Rec(NOW - 5, null, utf8("1")), new Rec(NOW + 1000, null, utf8("2")),
            new Rec(NOW - 86_400_000L, null, utf8("3")), new Rec(NOW + 999, null, utf8("4")))));
        cases.put("timestamps-far-apart", new Case(NOBODY, List.of(
            new Rec(NOW, null, utf8("now")), new Rec(0L, null, utf8("epoch")),
            new Rec(4_102_444_800_000L, null, utf8("the year 2100")))));
        cases.put("varint-boundaries", new Case(NOBODY, boundaries()));
        cases.put("large", new Case(NOBODY, List.of(
            new Rec(NOW, pattern(300), pattern(70_000), header(new String(pattern(9_000), StandardCharsets.US_ASCII), pattern(66_000))),
            new Rec(NOW, pattern(66_000), utf8("small")))));
        cases.put("idempotent", new Case(new Producer(4_242_424_242L, (short) 7, 123, false), five));
        cases.put("sequence-wraps", new Case(new Producer(1L, Short.MAX_VALUE, Integer.MAX_VALUE - 2, false), five));
        cases.put("transactional", new Case(new Producer(9_000_000_000L, (short) 0, 0, true), five));
        return cases;
    }

    private static List<Rec> boundaries() {
        List<Rec> records = new ArrayList<>();
        for (int size : new int[] {1, 49, 50, 51, 52, 53, 63, 64, 65, 127, 128, 8_180, 8_191, 8_192}) {
            records.add(new Rec(NOW + size, null, pattern(size)));
            records.add(new Rec(NOW - size, pattern(size), null, header("h", pattern(size))));
        }
        return records;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Header header(String key, byte[] value) {
        return new RecordHeader(key, value);
    }

    /** Bytes that compress, so that the files stay small: a counter's low digits. */
    private static byte[] pattern(int size) {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++) {
            bytes[i] = (byte) ('0' + i % 10);
        }
        return bytes;
    }

    private static void appendCase(StringBuilder index, String name, Case made) {
        Producer producer = made.producer();
        index.append(String.format(
            "  \"%s\": {%n   \"producer_id\": %d, \"producer_epoch\": %d, \"base_sequence\": %d, \"transactional\": %b,%n"
                + "   \"records\": [%n",
            name, producer.id(), producer.epoch(), producer.sequence(), producer.transactional()));
        for (Rec rec : made.records()) {
            StringBuilder headers = new StringBuilder();
            for (Header header : rec.headers()) {
                headers.append(headers.isEmpty() ? "" : ", ").append("[").append(base64(utf8(header.key()))).append(", ")
                    .append(base64(header.value())).append("]");
            }
            index.append(String.format(
                "    {\"timestamp\": %d, \"key\": %s, \"value\": %s, \"headers\": [%s]},%n",
                rec.timestamp(), base64(rec.key()), base64(rec.value()), headers));
        }
        dropComma(index).append("   ]\n  },\n");
    }

    private static String base64(byte[] bytes) {
        return bytes == null ? "null" : '"' + Base64.getEncoder().encodeToString(bytes) + '"';
    }

    private static StringBuilder dropComma(StringBuilder text) {
        text.setLength(text.length() - 2);
        return text.append("\n");
    }

    private static String murmur2Vectors() {
        Random random = new Random(20_240_229L);
        StringBuilder lines = new StringBuilder("key\tmurmur2\tof 6\tof 100\n");
        for (int i = 0; i < 2_000; i++) {
            byte[] key = new byte[i % 65];
            random.nextBytes(key);
            lines.append(Base64.getEncoder().encodeToString(key)).append('\t').append(Utils.murmur2(key)).append('\t')
                .append(BuiltInPartitioner.partitionForKey(key, 6)).append('\t')
                .append(BuiltInPartitioner.partitionForKey(key, 100)).append('\n');
        }
        return lines.toString();
    }

    /** Digests of what many more keys give: their hashes, and their partitions of 1 to 64, a byte each. */
    private static String murmur2Digests() {
        Random random = new Random(20_261_126L);
        byte[][] keys = new byte[100_000][];
        ByteBuffer hashes = ByteBuffer.allocate(4 * keys.length);
        for (int i = 0; i < keys.length; i++) {
            keys[i] = new byte[i % 101];
            random.nextBytes(keys[i]);
            hashes.putInt(Utils.murmur2(keys[i]));
        }
        StringBuilder lines = new StringBuilder("of\tSHA-256\nhash\t").append(sha256(hashes.array())).append('\n');
        for (int count = 1; count <= 64; count++) {
            byte[] partitions = new byte[keys.length];
            for (int i = 0; i < keys.length; i++) {
                partitions[i] = (byte) BuiltInPartitioner.partitionForKey(keys[i], count);
            }
            lines.append(count).append('\t').append(sha256(partitions)).append('\n');
        }
        return lines.toString();
    }

    private static String sha256(byte[] bytes) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException missing) {
            throw new IllegalStateException(missing);
        }
    }

    private GoldenBatches() {}
}
