package zone

import (
	"testing"
	"time"
)

var noon = time.Date(2024, time.July, 1, 12, 0, 0, 0, time.UTC)

func TestSummerTime(t *testing.T) {
	got, err := In(noon, "Europe/Vienna")
	if err != nil || got != "2024-07-01 14:00 CEST" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestUnknownZone(t *testing.T) {
	if got, err := In(noon, "Middle/Earth"); err == nil {
		t.Fatalf("got %q for a zone that does not exist", got)
	}
}
