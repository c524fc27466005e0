import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.*;

/** Reads a topic as a member of a group with Kafka's own client: address, topic, group, count. */
class Consume {
    public static void main(String[] args) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", args[0]);
        settings.put("group.id", args[2]);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        int want = Integer.parseInt(args[3]);
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(args[1]));
            int n = 0;
            long deadline = System.currentTimeMillis() + 30_000;
            while (n < want && System.currentTimeMillis() < deadline) {
                for (var r : consumer.poll(Duration.ofMillis(500))) {
                    if (r.headers().lastHeader("penstock.id") == null) throw new Exception("no id at " + r.offset());
                    n++;
                }
            }
            consumer.commitSync();
            System.out.println("read " + n);
            var parts = new HashSet<TopicPartition>();
            for (var p : consumer.partitionsFor(args[1])) parts.add(new TopicPartition(args[1], p.partition()));
            long committed = 0;
            for (var e : consumer.committed(parts).values()) if (e != null) committed += e.offset();
            System.out.println("committed " + committed);
        }
        try (var admin = Admin.create(settings)) {
            System.out.println("groups " + admin.listGroups().all().get().size());
            System.out.println("state " + admin.describeClassicGroups(List.of(args[2])).all().get().get(args[2]).state());
        }
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            try {
                producer.send(new ProducerRecord<>(args[1], "x", "y")).get();
                System.out.println("written");
            } catch (Exception e) {
                System.out.println("refused " + e.getMessage());
            }
        }
    }
}
