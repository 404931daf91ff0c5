import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.security.auth.callback.Callback;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.msk.auth.iam.internals.AWS4SignedPayloadGenerator;
import software.amazon.msk.auth.iam.internals.AWSCredentialsCallback;
import software.amazon.msk.auth.iam.internals.IAMSaslClient;

/**
 * Has AWS's own SASL client make the first bytes of AWS_MSK_IAM for several brokers and credentials, and judge several
 * answers of a broker; writes both as JSON.
 *
 * The credentials are made up. The clock is the machine's: each payload tells its time.
 */
public class MskIamPayloads {
    private static final String[][] CASES = {
        // name, host, access key, secret key, session token
        {"fixed-key", "b-1.orders.abcdef.c2.kafka.us-east-1.amazonaws.com", "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", null},
        {"session-token", "b-2.orders.abcdef.c2.kafka.eu-central-1.amazonaws.com", "ASIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzEBYaDH+/=x y~z%&:;'\"-_.(\u00dc)==" },
        {"serverless", "boot-abcdefgh.c1.kafka-serverless.ap-southeast-2.amazonaws.com", "ASIAQQQQQQQQQQQQQQQQ",
            "abc+def/ghi+jkl/mno+pqr/stu+vwx/yz012345", "IQoJb3JpZ2luX2VjEJ///////////wEaCXVzLWVhc3QtMSJHMEUCIQ==" },
        {"china", "b-3.orders.abcdef.c3.kafka.cn-north-1.amazonaws.com.cn", "AKIA1111111111111111",
            "0000000000000000000000000000000000000000", null},
        {"government", "b-1.orders.abcdef.c4.kafka.us-gov-west-1.amazonaws.com", "AKIA2222222222222222",
            "////////////////////++++++++++++++++++++", null},
    };

    private static final String[] ANSWERS = {
        "{\"version\":\"2020_10_22\",\"request-id\":\"3d1ae5b8-4e08-4d6f-a2f1-3b1b0c2d9d55\"}",
        "{\"request-id\":\"\",\"version\":\"2020_10_22\"}",
        "",
        "{}",
        "null",
        "[]",
        "\"2020_10_22\"",
        "{\"version\":\"2020_10_22\"}",
        "{\"version\":\"2020_10_23\",\"request-id\":\"x\"}",
        "{\"request-id\":\"x\"}",
        "{\"version\":\"2020_10_22\",\"request-id\":\"x\"",
        "{\"version\":\"2020_10_22\",\"request-id\":\"x\",\"more\":1}",
        "no JSON at all",
    };

    public static void main(String[] arguments) throws Exception {
        List<Map<String, Object>> payloads = new ArrayList<>();
        for (String[] each : CASES) {
            payloads.add(payload(each));
        }
        List<Map<String, Object>> answers = new ArrayList<>();
        for (String answer : ANSWERS) {
            answers.add(judged(answer));
        }
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("library", "software.amazon.msk:aws-msk-iam-auth:" + arguments[1]);
        all.put("payloads", payloads);
        all.put("answers", answers);
        ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
        Files.writeString(Path.of(arguments[0]), mapper.writeValueAsString(all) + "\n");
    }

    private static Map<String, Object> payload(String[] each) throws Exception {
        byte[] bytes = client(each[1], credentials(each)).evaluateChallenge(new byte[0]);
        Map<String, Object> made = new LinkedHashMap<>();
        made.put("name", each[0]);
        made.put("host", each[1]);
        made.put("access_key", each[2]);
        made.put("secret_key", each[3]);
        made.put("session_token", each[4]);
        Map<String, String> payload = new ObjectMapper().readValue(bytes, new TypeReference<TreeMap<String, String>>() { });
        // Behind the library's name and version come those of this machine.
        payload.computeIfPresent("user-agent", (name, agent) -> agent.split(" ")[0]);
        made.put("payload", payload);
        return made;
    }

    private static Map<String, Object> judged(String answer) throws Exception {
        IAMSaslClient client = client(CASES[0][1], credentials(CASES[0]));
        client.evaluateChallenge(new byte[0]);
        String refusal = null;
        try {
            client.evaluateChallenge(answer.getBytes(StandardCharsets.UTF_8));
        } catch (Exception error) {
            refusal = error.getClass().getSimpleName();
        }
        Map<String, Object> judged = new LinkedHashMap<>();
        judged.put("answer", answer);
        judged.put("accepted", refusal == null && client.isComplete());
        return judged;
    }

    private static AwsCredentials credentials(String[] each) {
        return each[4] == null
            ? AwsBasicCredentials.create(each[2], each[3])
            : AwsSessionCredentials.create(each[2], each[3], each[4]);
    }

    private static IAMSaslClient client(String host, AwsCredentials credentials) {
        return new IAMSaslClient("AWS_MSK_IAM", callbacks -> {
            for (Callback callback : callbacks) {
                ((AWSCredentialsCallback) callback).setAwsCredentials(credentials);
            }
        }, host, new AWS4SignedPayloadGenerator());
    }
}
