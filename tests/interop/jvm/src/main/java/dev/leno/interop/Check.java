package dev.leno.interop;

import java.time.Duration;
import java.util.concurrent.Callable;

/** Claims of the programs here. */
final class Check {
    /** Nothing takes nearly as long. */
    private static final Duration HANG = Duration.ofSeconds(60);

    private Check() {}

    static void check(boolean holds, String claim) {
        if (!holds) {
            throw new AssertionError(claim);
        }
        System.out.println("ok: " + claim);
    }

    /** Waits until it holds. */
    static void eventually(String claim, Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + HANG.toNanos();
        while (!holds.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + HANG + ": " + claim);
            }
            Thread.sleep(20);
        }
        System.out.println("ok: " + claim);
    }
}
