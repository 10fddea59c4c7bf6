package org.example.primes;

import java.util.List;

/** Tests without a library: {@code java} with {@code -ea} turns a failed assertion into exit code 1. */
final class PrimesTest {
    public static void main(String[] arguments) {
        assert Primes.factors(1).isEmpty();
        assert Primes.factors(60).equals(List.of(2L, 2L, 3L, 5L));
        assert Primes.factors(1_000_003).equals(List.of(1_000_003L));
        try {
            Primes.factors(0);
            assert false : "0 was taken apart";
        } catch (IllegalArgumentException expected) {
            System.out.println("all tests passed");
        }
    }
}
