// Java's virtual threads, on one carrier (-Djdk.virtualThreadScheduler.parallelism=1). See src/serve.rs for the protocol.
// The builder is called by reflection, so that an older compiler will do. Requests are read by a virtual thread: the one
// carrier waits meanwhile, and nobody runs.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.locks.LockSupport;

public class VirtualThreads {
    interface Answer { long[] to(String body, int count) throws Exception; }

    static final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
    static Method starter;

    static Thread start(Runnable body) {
        try {
            return (Thread) starter.invoke(null, body);
        } catch (ReflectiveOperationException error) {
            throw new RuntimeException(error);
        }
    }

    // The first request of each body is done again and again for half a second, for the compiler to have seen it.
    static void requests(Answer answer) throws Exception {
        System.out.println("ready");
        String warm = "";
        for (String line; (line = input.readLine()) != null;) {
            String[] words = line.split(" ");
            long begin = System.nanoTime();
            while (!warm.equals(words[0]) && System.nanoTime() - begin < 500_000_000L) answer.to(words[0], 10);
            warm = words[0];
            long[] figures = answer.to(words[0], Integer.parseInt(words[1]));
            System.out.println(figures[0] + " " + figures[1]);
        }
        Runtime.getRuntime().halt(0);
    }

    static volatile int mode; // 0 parked, 1 warm, 2 timed
    static volatile int idle;
    static volatile long sum;

    static void task() {
        for (;;) {
            idle = idle + 1; // one carrier: nobody else runs
            do LockSupport.park(); while (mode == 0);
            while (mode == 1) Thread.yield(); // turns before the clock starts do not count
            long turns = 0;
            while (mode != 0) {
                turns++;
                Thread.yield();
            }
            sum = sum + turns;
        }
    }

    static void allParked(int n) {
        while (idle < n - 1) Thread.yield();
    }

    // In the loop: Thread.yield in n threads, of which one is the keeper (see src/rivals/ring.rs). A local of a suspended
    // virtual thread is in memory with every body.
    static void turns(int n) throws Exception {
        List<Thread> made = new ArrayList<>();
        for (int k = 1; k < n; k++) made.add(start(VirtualThreads::task));
        allParked(n);
        requests((body, count) -> {
            List<Thread> order = new ArrayList<>(made);
            if (body.equals("shuffled")) Collections.shuffle(order, new Random(1));
            idle = 0;
            sum = 0;
            mode = 1;
            for (Thread thread : order) LockSupport.unpark(thread);
            Thread.yield();
            mode = 2;
            long begin = System.nanoTime();
            for (int i = 0; i < count; i++) Thread.yield();
            long elapsed = System.nanoTime() - begin;
            mode = 0;
            allParked(n);
            return new long[] {elapsed, sum + count};
        });
    }

    // In the loop: a thread started and joined.
    static void spawns(int n) throws Exception {
        long[] results = new long[n];
        requests((body, count) -> {
            long begin = System.nanoTime();
            for (int i = 0; i < count; i++) {
                Thread[] all = new Thread[n];
                for (int k = 0; k < n; k++) {
                    int own = k;
                    all[k] = start(() -> results[own]++);
                }
                for (Thread thread : all) thread.join();
            }
            return new long[] {System.nanoTime() - begin, (long) count * n};
        });
    }

    static void memory(int n) throws Exception {
        System.out.println("ready");
        input.readLine();
        List<Thread> all = new ArrayList<>();
        for (int k = 0; k < n; k++) {
            if (k % 1000 == 0) System.out.println("at " + k);
            all.add(start(() -> { idle = idle + 1; for (;;) LockSupport.park(); }));
            if (k % 100 == 0) Thread.yield();
        }
        while (idle < n) Thread.yield();
        System.out.println("held " + all.size() + " ");
        input.readLine();
        Runtime.getRuntime().halt(0);
    }

    // In the loop, n == 2: a message there and one back. Otherwise: one from each of n producers.
    static void channel(int n) throws Exception {
        if (n == 2) {
            ArrayBlockingQueue<Long> to = new ArrayBlockingQueue<>(1), back = new ArrayBlockingQueue<>(1);
            start(() -> {
                try {
                    for (;;) back.put(to.take() + 1);
                } catch (InterruptedException end) {
                    return;
                }
            });
            requests((body, count) -> {
                long begin = System.nanoTime();
                for (long i = 0; i < count; i++) {
                    to.put(i);
                    back.take();
                }
                return new long[] {System.nanoTime() - begin, (long) count * n};
            });
        }
        ArrayBlockingQueue<Long> from = new ArrayBlockingQueue<>(1024);
        requests((body, count) -> {
            for (int k = 0; k < n; k++) {
                start(() -> {
                    try {
                        for (long i = 0; i < count; i++) from.put(i);
                    } catch (InterruptedException end) {
                        return;
                    }
                });
            }
            long begin = System.nanoTime();
            for (long i = 0; i < (long) count * n; i++) from.take();
            return new long[] {System.nanoTime() - begin, (long) count * n};
        });
    }

    public static void main(String[] arguments) throws Exception {
        starter = Thread.class.getMethod("startVirtualThread", Runnable.class);
        int n = Integer.parseInt(arguments[1]);
        start(() -> {
            try {
                switch (arguments[0]) {
                    case "yield": turns(n); break;
                    case "spawn": spawns(n); break;
                    case "memory": memory(n); break;
                    case "channel": channel(n); break;
                    default: throw new IllegalArgumentException(arguments[0]);
                }
            } catch (Throwable error) {
                System.out.println("error " + error);
                Runtime.getRuntime().halt(1);
            }
        }).join();
    }
}
