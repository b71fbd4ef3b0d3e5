package dev.leno.interop;

import static dev.leno.interop.Check.check;
import static dev.leno.interop.Check.eventually;

import com.ecwid.consul.v1.ConsulClient;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Set;
import java.util.stream.Collectors;
import org.springframework.boot.Banner;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.cloud.client.ServiceInstance;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.client.loadbalancer.LoadBalancerClient;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.core.env.Environment;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;

/**
 * Two instances of a web application of Spring Cloud Consul: they register themselves and keep alive by heartbeats, find
 * each other, and follow their configuration. Argument: the agent's address as HOST:PORT.
 */
@SpringBootApplication
@RestController
public class Spring {
    private static final Duration TTL = Duration.ofSeconds(6);
    private static final HttpClient HTTP = HttpClient.newHttpClient();

    private final Environment environment;

    Spring(Environment environment) {
        this.environment = environment;
    }

    @GetMapping("/greet")
    String greet() {
        return environment.getProperty("greeting");
    }

    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Throwable failure) {
            failure.printStackTrace();
            System.exit(1);
        }
        // Threads of its heartbeats outlive an application.
        System.exit(0);
    }

    private static void run(String[] arguments) throws Exception {
        String[] address = arguments[0].split(":");
        ConsulClient client = new ConsulClient(address[0], Integer.parseInt(address[1]));
        client.setKVValue("config/spring-web/greeting", "hello");
        try (ConfigurableApplicationContext first = start(address, "spring-1")) {
            eventually("an instance registers itself and is healthy", () -> found(first).equals(Set.of("spring-1")));
            ServiceInstance instance = discovery(first).getInstances("spring-web").get(0);
            check(instance.getMetadata().get("team").equals("blue"), "its metadata are told");
            check(get(instance.getUri().resolve("/greet")).equals("hello"),
                    "it is where it says, with its configuration");
            check(discovery(first).getServices().contains("spring-web"), "the service is listed");
            try (ConfigurableApplicationContext second = start(address, "spring-2")) {
                eventually("both instances are found", () -> found(first).equals(Set.of("spring-1", "spring-2")));
                long began = System.nanoTime();
                ServiceInstance chosen = second.getBean(LoadBalancerClient.class).choose("spring-web");
                check(get(chosen.getUri().resolve("/greet")).equals("hello"), "the load balancer finds one");
                client.setKVValue("config/spring-web/greeting", "good morning");
                eventually("a change of the configuration is followed",
                        () -> get(instance.getUri().resolve("/greet")).equals("good morning"));
                // Longer than one heartbeat lasts.
                eventually("time passes", () -> System.nanoTime() - began > TTL.toNanos() * 3 / 2);
                check(found(first).equals(Set.of("spring-1", "spring-2")), "heartbeats keep both healthy");
            }
            eventually("an instance that ends is gone", () -> found(first).equals(Set.of("spring-1")));
        }
        check(client.getAgentServices().getValue().isEmpty(), "in the end nothing is registered");
    }

    private static ConfigurableApplicationContext start(String[] address, String id) {
        return new SpringApplicationBuilder(Spring.class).bannerMode(Banner.Mode.OFF).run(
                "--logging.level.root=warn",
                "--server.address=127.0.0.1",
                "--server.port=0",
                "--spring.application.name=spring-web",
                "--spring.config.import=consul:",
                "--spring.cloud.consul.host=" + address[0],
                "--spring.cloud.consul.port=" + address[1],
                // It looks at one prefix after the other, and at each for so many seconds.
                "--spring.cloud.consul.config.watch.wait-time=1",
                "--spring.cloud.consul.config.watch.delay=100",
                "--spring.cloud.consul.discovery.instance-id=" + id,
                "--spring.cloud.consul.discovery.hostname=127.0.0.1",
                "--spring.cloud.consul.discovery.metadata.team=blue",
                "--spring.cloud.consul.discovery.query-passing=true",
                "--spring.cloud.consul.discovery.heartbeat.enabled=true",
                "--spring.cloud.consul.discovery.heartbeat.ttl=" + TTL.toSeconds() + "s");
    }

    private static DiscoveryClient discovery(ConfigurableApplicationContext context) {
        return context.getBean(DiscoveryClient.class);
    }

    private static Set<String> found(ConfigurableApplicationContext context) {
        return discovery(context).getInstances("spring-web").stream()
                .map(ServiceInstance::getInstanceId)
                .collect(Collectors.toSet());
    }

    private static String get(URI uri) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(10)).build();
        return HTTP.send(request, BodyHandlers.ofString()).body();
    }
}
