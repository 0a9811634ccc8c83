// Go with chi and pgx: single readings by INSERT, batches by CopyFrom. The device's token is
// looked up on every request; the answer follows the commit. Ids are random, so a batch that is
// sent twice is stored twice.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-chi/chi"
	"github.com/jackc/pgtype"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const findDevice = `
	SELECT devices.id FROM device_tokens JOIN devices ON devices.id = device_id
	JOIN users ON users.id = user_id
	WHERE token_hash = $1 AND NOT revoked AND (expires_at IS NULL OR expires_at > now())
	  AND devices.deleted_at IS NULL AND users.is_active`

const insert = `
	INSERT INTO telemetry (id, device_id, telemetry_type, payload, recorded_at, created_at)
	VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`

var (
	columns       = []string{"id", "device_id", "telemetry_type", "payload", "recorded_at", "created_at"}
	telemetryType = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	pool          *pgxpool.Pool
)

type reading struct {
	TelemetryType string                     `json:"telemetry_type"`
	Payload       map[string]json.RawMessage `json:"payload"`
	RecordedAt    time.Time                  `json:"recorded_at"`
}

type uuid = [16]byte

func (r *reading) row(device uuid, now time.Time) ([]interface{}, error) {
	if !telemetryType.MatchString(r.TelemetryType) || len(r.Payload) == 0 || r.RecordedAt.IsZero() {
		return nil, errors.New("not a reading")
	}
	payload, err := json.Marshal(r.Payload)
	if err != nil {
		return nil, err
	}
	var id uuid
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	document := pgtype.JSONB{Bytes: payload, Status: pgtype.Present}
	return []interface{}{id, device, r.TelemetryType, document, r.RecordedAt, now}, nil
}

func main() {
	var err error
	pool, err = pgxpool.Connect(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	router := chi.NewRouter()
	router.Post("/readings", store)
	router.Post("/batches", storeAll)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), router))
}

func store(w http.ResponseWriter, r *http.Request) {
	device, err := speakingDevice(r)
	if err != nil {
		http.Error(w, "unknown token", http.StatusUnauthorized)
		return
	}
	var sent reading
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	row, err := sent.row(device, time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	if _, err := pool.Exec(r.Context(), insert, row...); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	id := row[0].(uuid)
	answer(w, map[string]interface{}{"id": hex.EncodeToString(id[:])})
}

func storeAll(w http.ResponseWriter, r *http.Request) {
	device, err := speakingDevice(r)
	if err != nil {
		http.Error(w, "unknown token", http.StatusUnauthorized)
		return
	}
	var sent []reading
	if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	now := time.Now()
	rows := make([][]interface{}, len(sent))
	for i := range sent {
		if rows[i], err = sent[i].row(device, now); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
	}
	source := pgx.CopyFromRows(rows)
	stored, err := pool.CopyFrom(r.Context(), pgx.Identifier{"telemetry"}, columns, source)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]interface{}{"accepted": stored})
}

func speakingDevice(r *http.Request) (device uuid, err error) {
	secret := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	digest := sha256.Sum256([]byte(secret))
	var id pgtype.UUID
	err = pool.QueryRow(r.Context(), findDevice, digest[:]).Scan(&id)
	return id.Bytes, err
}

func answer(w http.ResponseWriter, value interface{}) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(value)
}
