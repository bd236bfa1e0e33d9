CREATE TABLE "notes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "notes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"tenant_id" text DEFAULT (auth.session() ->> 'tenant_id') NOT NULL,
	"author" text DEFAULT auth.user_id() NOT NULL,
	"body" text NOT NULL,
	"shared" boolean DEFAULT false NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "notes_body_length" CHECK (length("notes"."body") BETWEEN 1 AND 2000)
);
--> statement-breakpoint
ALTER TABLE "notes" ENABLE ROW LEVEL SECURITY;--> statement-breakpoint
CREATE INDEX "notes_tenant" ON "notes" USING btree ("tenant_id","id");--> statement-breakpoint
CREATE POLICY "crud-authenticated-policy-select" ON "notes" AS PERMISSIVE FOR SELECT TO "authenticated" USING ("notes"."tenant_id" = auth.session() ->> 'tenant_id' AND ("notes"."author" = auth.user_id() OR "notes"."shared"));--> statement-breakpoint
CREATE POLICY "crud-authenticated-policy-insert" ON "notes" AS PERMISSIVE FOR INSERT TO "authenticated" WITH CHECK ("notes"."tenant_id" = auth.session() ->> 'tenant_id' AND "notes"."author" = auth.user_id());--> statement-breakpoint
CREATE POLICY "crud-authenticated-policy-update" ON "notes" AS PERMISSIVE FOR UPDATE TO "authenticated" USING ("notes"."tenant_id" = auth.session() ->> 'tenant_id' AND "notes"."author" = auth.user_id()) WITH CHECK ("notes"."tenant_id" = auth.session() ->> 'tenant_id' AND "notes"."author" = auth.user_id());--> statement-breakpoint
CREATE POLICY "crud-authenticated-policy-delete" ON "notes" AS PERMISSIVE FOR DELETE TO "authenticated" USING ("notes"."tenant_id" = auth.session() ->> 'tenant_id' AND "notes"."author" = auth.user_id());