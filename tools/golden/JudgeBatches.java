import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;

/**
 * Reads record batches with Kafka's own classes and has the broker's validator judge them.
 *
 * <p>Standard input: frames, each a four-byte big-endian length and that many bytes of one or more batches. Standard
 * output: one line of JSON a frame, flushed after each.
 */
public final class JudgeBatches {
    private static final class NoMetrics implements LogValidator.MetricsRecorder {
        @Override
        public void recordInvalidMagic() {}

        @Override
        public void recordInvalidOffset() {}

        @Override
        public void recordInvalidSequence() {}

        @Override
        public void recordInvalidChecksums() {}

        @Override
        public void recordNoKeyCompactedTopic() {}
    }

    public static void main(String[] arguments) throws IOException {
        DataInputStream input = new DataInputStream(System.in);
        PrintStream output = new PrintStream(
            new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16), false, StandardCharsets.UTF_8);
        while (true) {
            byte[] frame;
            try {
                frame = new byte[input.readInt()];
            } catch (EOFException end) {
                return;
            }
            input.readFully(frame);
            output.println(judge(frame));
            output.flush();
        }
    }

    private static String judge(byte[] frame) {
        StringBuilder json = new StringBuilder("{\"batches\": [");
        String error = null;
        int read = 0;
        try {
            String separator = "";
            for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(frame)).batches()) {
                StringBuilder one = new StringBuilder();
                batch.ensureValid();
                appendBatch(one, batch);
                json.append(separator).append(one);
                separator = ", ";
                read += batch.sizeInBytes();
            }
            if (read != frame.length) {
                error = (frame.length - read) + " bytes after the last whole batch";
            }
        } catch (RuntimeException failure) {
            error = failure.toString();
        }
        json.append("], \"error\": ").append(quote(error)).append(", \"refusal\": ");
        return json.append(quote(error == null ? validate(frame) : error)).append("}").toString();
    }

    private static void appendBatch(StringBuilder json, MutableRecordBatch batch) {
        json.append(String.format(
            "{\"magic\": %d, \"base_offset\": %d, \"last_offset\": %d, \"partition_leader_epoch\": %d, "
                + "\"compression\": \"%s\", \"timestamp_type\": \"%s\", \"max_timestamp\": %d, \"producer_id\": %d, "
                + "\"producer_epoch\": %d, \"base_sequence\": %d, \"last_sequence\": %d, \"transactional\": %b, "
                + "\"control\": %b, \"count\": %d, \"crc\": %d, \"records\": [",
            batch.magic(), batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(),
            batch.compressionType().name, batch.timestampType().name, batch.maxTimestamp(), batch.producerId(),
            batch.producerEpoch(), batch.baseSequence(), batch.lastSequence(), batch.isTransactional(),
            batch.isControlBatch(), batch.countOrNull(), batch.checksum()));
        String separator = "";
        for (Record found : batch) {
            json.append(separator).append(String.format(
                "{\"offset\": %d, \"timestamp\": %d, \"key\": %s, \"value\": %s, \"headers\": [",
                found.offset(), found.timestamp(), base64(found.hasKey() ? found.key() : null),
                base64(found.hasValue() ? found.value() : null)));
            String between = "";
            for (Header header : found.headers()) {
                byte[] key = header.key().getBytes(StandardCharsets.UTF_8);
                ByteBuffer value = header.value() == null ? null : ByteBuffer.wrap(header.value());
                json.append(between).append("[").append(base64(ByteBuffer.wrap(key))).append(", ")
                    .append(base64(value)).append("]");
                between = ", ";
            }
            json.append("]}");
            separator = ", ";
        }
        json.append("]}");
    }

    /** Return why a broker would refuse the batches of a produce request, null if it would not. */
    private static String validate(byte[] frame) {
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(frame.clone()));
            ProduceRequest.validateRecords(ApiKeys.PRODUCE.latestVersion(), records);
            RecordBatch first = records.batches().iterator().next();
            new LogValidator(
                records, new TopicPartition("judged", 0), Time.SYSTEM, first.compressionType(),
                Compression.of(first.compressionType()).build(), false, RecordBatch.MAGIC_VALUE_V2,
                TimestampType.CREATE_TIME, Long.MAX_VALUE, Long.MAX_VALUE, 0, AppendOrigin.CLIENT)
                .validateMessagesAndAssignOffsets(
                    PrimitiveRef.ofLong(0), new NoMetrics(), BufferSupplier.NO_CACHING);
            return null;
        } catch (RuntimeException refusal) {
            return refusal.toString();
        }
    }

    private static String base64(ByteBuffer buffer) {
        if (buffer == null) {
            return "null";
        }
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return '"' + Base64.getEncoder().encodeToString(bytes) + '"';
    }

    private static String quote(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder json = new StringBuilder("\"");
        for (char unit : text.toCharArray()) {
            if (unit == '"' || unit == '\\') {
                json.append('\\').append(unit);
            } else if (unit < 0x20) {
                json.append(String.format("\\u%04x", (int) unit));
            } else {
                json.append(unit);
            }
        }
        return json.append('"').toString();
    }

    private JudgeBatches() {}
}
