package dev.leno.interop;

import static dev.leno.interop.Check.check;

import com.ecwid.consul.v1.ConsulClient;
import com.ecwid.consul.v1.OperationException;
import com.ecwid.consul.v1.QueryParams;
import com.ecwid.consul.v1.Response;
import com.ecwid.consul.v1.agent.model.NewService;
import com.ecwid.consul.v1.health.HealthServicesRequest;
import com.ecwid.consul.v1.health.model.HealthService;
import com.ecwid.consul.v1.kv.model.GetValue;
import com.ecwid.consul.v1.kv.model.PutParams;
import com.ecwid.consul.v1.session.model.NewSession;
import com.ecwid.consul.v1.session.model.Session;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Function;

/** What Java users of Consul do by hand. Argument: the agent's address as HOST:PORT. */
public final class Ecwid {
    private static final long WAIT_SECONDS = 30;

    private final ConsulClient client;

    private Ecwid(ConsulClient client) {
        this.client = client;
    }

    public static void main(String[] arguments) throws Exception {
        String[] address = arguments[0].split(":");
        Ecwid ecwid = new Ecwid(new ConsulClient(address[0], Integer.parseInt(address[1])));
        ecwid.service();
        ecwid.keys();
        ecwid.locks();
    }

    private void service() throws Exception {
        NewService service = new NewService();
        service.setId("java-1");
        service.setName("java");
        service.setAddress("127.0.0.1");
        service.setPort(8082);
        service.setTags(List.of("one", "two"));
        service.setMeta(Map.of("zone", "a"));
        NewService.Check ttl = new NewService.Check();
        ttl.setTtl("3s");
        service.setCheck(ttl);
        client.agentServiceRegister(service);
        check(client.getAgentServices().getValue().get("java-1").getPort() == 8082, "the agent has the service");
        check(client.getCatalogServices(QueryParams.DEFAULT).getValue().get("java").equals(List.of("one", "two")),
                "the catalog has its tags");
        check(healthy(QueryParams.DEFAULT).getValue().isEmpty(), "without a heartbeat it is not healthy");
        client.agentCheckPass("service:java-1", "alive");
        Response<List<HealthService>> response = healthy(QueryParams.DEFAULT);
        HealthService.Service found = response.getValue().get(0).getService();
        check(found.getId().equals("java-1") && found.getMeta().equals(Map.of("zone", "a")), "after one it is");
        Response<List<HealthService>> later = awaited(response, this::healthy, () -> {});
        check(later.getValue().isEmpty(), "when no more come, a blocking query tells that it is not");
        later = awaited(later, this::healthy, () -> client.agentCheckPass("service:java-1"));
        check(later.getValue().size() == 1, "and that it is again");
        client.agentServiceSetMaintenance("java-1", true, "tired");
        check(healthy(QueryParams.DEFAULT).getValue().isEmpty(), "in maintenance it is not");
        client.agentServiceDeregister("java-1");
        check(client.getCatalogService("java", QueryParams.DEFAULT).getValue().isEmpty(), "deregistered it is gone");
    }

    private Response<List<HealthService>> healthy(QueryParams query) {
        return client.getHealthServices("java",
                HealthServicesRequest.newBuilder().setPassing(true).setQueryParams(query).build());
    }

    private void keys() throws Exception {
        check(client.getKVValue("java/none").getValue() == null, "a key that is not there has no value");
        check(client.setKVValue("java/a", "eins").getValue(), "setKVValue writes");
        GetValue read = client.getKVValue("java/a").getValue();
        check(read.getDecodedValue().equals("eins"), "getKVValue reads it");
        byte[] bytes = {0, (byte) 0xff, 10};
        client.setKVBinaryValue("java/b/c", bytes);
        check(Arrays.equals(client.getKVBinaryValue("java/b/c").getValue().getValue(), bytes),
                "bytes come back as they are");
        check(client.getKVKeysOnly("java/").getValue().equals(List.of("java/a", "java/b/c")), "keys are listed");
        check(client.getKVKeysOnly("java/", "/", null).getValue().equals(List.of("java/a", "java/b/")),
                "and cut at the separator");
        check(!set("java/a", "lost", it -> it.setCas(0L)), "with 0 an existing key is not written");
        check(set("java/a", "zwei", it -> it.setCas(read.getModifyIndex())), "with its index it is");
        check(!set("java/a", "lost", it -> it.setCas(read.getModifyIndex())), "with an old one it is not");
        Response<List<GetValue>> before = client.getKVValues("java/");
        Response<List<GetValue>> after =
                awaited(before, it -> client.getKVValues("java/", it), () -> client.setKVValue("java/b/d", "spaet"));
        check(after.getValue().size() == 3, "a blocking query wakes for its prefix");
        client.deleteKVValues("java/");
        check(client.getKVValues("java/").getValue() == null, "deleteKVValues removes them");
    }

    private void locks() throws Exception {
        String first = session("first");
        String second = session("second");
        Session told = client.getSessionInfo(first, QueryParams.DEFAULT).getValue();
        check(told.getName().equals("first") && told.getTtl().equals("60s"), "a session tells what was asked for");
        check(client.renewSession(first, QueryParams.DEFAULT).getValue().getId().equals(first), "it is renewed");
        String key = "java/lock";
        check(set(key, "eins", it -> it.setAcquireSession(first)), "a free key is acquired");
        check(!set(key, "zwei", it -> it.setAcquireSession(second)), "one that is held is not");
        check(!set(key, "zwei", it -> it.setReleaseSession(second)), "only the holder releases it");
        Response<GetValue> held = client.getKVValue(key);
        check(held.getValue().getSession().equals(first) && held.getValue().getLockIndex() == 1, "the key tells who");
        Response<GetValue> free = awaited(held, it -> client.getKVValue(key, it),
                () -> set(key, "frei", it -> it.setReleaseSession(first)));
        check(free.getValue().getSession() == null, "who waits for it wakes when it is released");
        check(set(key, "zwei", it -> it.setAcquireSession(second)), "the next one acquires it");
        free = awaited(client.getKVValue(key), it -> client.getKVValue(key, it),
                () -> client.sessionDestroy(second, QueryParams.DEFAULT));
        check(free.getValue().getSession() == null, "a session that is destroyed lets go of it");
        check(client.getSessionInfo(second, QueryParams.DEFAULT).getValue() == null, "and is gone");
        check(set(key, "drei", it -> it.setAcquireSession(first)), "without a lock delay the key is free at once");
        String refusal = "";
        try {
            set(key, "lost", it -> it.setAcquireSession(second));
        } catch (OperationException exception) {
            refusal = exception.getStatusContent();
        }
        check(refusal.contains("invalid session"), "an ended session acquires nothing: " + refusal.trim());
        client.sessionDestroy(first, QueryParams.DEFAULT);
        check(client.getSessionList(QueryParams.DEFAULT).getValue().isEmpty(), "no session is left");
    }

    private String session(String name) {
        NewSession session = new NewSession();
        session.setName(name);
        session.setTtl("60s");
        session.setLockDelay(0);
        return client.sessionCreate(session, QueryParams.DEFAULT).getValue();
    }

    private boolean set(String key, String value, Consumer<PutParams> with) {
        PutParams parameters = new PutParams();
        with.accept(parameters);
        return client.setKVValue(key, value, parameters).getValue();
    }

    /** Asks again, waiting for something newer than the response, and meanwhile does what brings it. */
    private <T> Response<T> awaited(
            Response<T> response, Function<QueryParams, Response<T>> query, Runnable meanwhile) throws Exception {
        QueryParams newer = new QueryParams(WAIT_SECONDS, response.getConsulIndex());
        CompletableFuture<Response<T>> waiting = CompletableFuture.supplyAsync(() -> query.apply(newer));
        meanwhile.run();
        return waiting.get(2 * WAIT_SECONDS, TimeUnit.SECONDS);
    }
}
