module org.example.primes {
    requires jdk.httpserver;
}
