package org.example.primes;

import java.util.ArrayList;
import java.util.List;

/** Takes numbers apart. */
final class Primes {
    private Primes() {}

    /** The prime factors of {@code number}, smallest first. */
    static List<Long> factors(long number) {
        if (number < 1) {
            throw new IllegalArgumentException(number + " has no prime factors");
        }
        var factors = new ArrayList<Long>();
        for (long divisor = 2; divisor <= number / divisor; divisor++) {
            while (number % divisor == 0) {
                factors.add(divisor);
                number /= divisor;
            }
        }
        if (number > 1) {
            factors.add(number);
        }
        return factors;
    }
}
