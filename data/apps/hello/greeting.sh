# A library: what the application needs and did not write itself.
greet() {
    echo "$GREETING from a container"
}
