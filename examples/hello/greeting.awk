# Greets in the name of the system that an os-release file describes.
BEGIN { FS = "=" }
$1 == "PRETTY_NAME" {
    gsub(/"/, "", $2)
    print "Hello from a two-stage image on " $2 "."
}
