# shellcheck shell=bash
# The floor of a site: the same work by a shell, as root on the node. Arguments: name, host, WordPress as a tar, WP-CLI.
set -euo pipefail

name=$1 host=$2 wordpress=$3 wp_cli=$4
folder=/var/www/floor/$name
first=$folder/first
pool=$(echo /etc/php/*/fpm/pool.d)
version=${pool#/etc/php/}
version=${version%%/*}
password=$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n')

useradd --system --no-create-home --home-dir "$folder" --shell /usr/sbin/nologin "$name"
mkdir -p "$first/live" "$first/uploads"
tar -xf "$wordpress" -C "$first/live" --strip-components=1 --no-same-owner
ln -s ../../uploads "$first/live/wp-content/uploads"
ln -s ../wp-config.php "$first/live/wp-config.php"
ln -s first "$folder/current"
mariadb -e "CREATE DATABASE $name CHARACTER SET utf8mb4; CREATE USER '$name'@'localhost' IDENTIFIED BY '$password'; GRANT ALL ON $name.* TO '$name'@'localhost'"
{
	printf "<?php\ndefine('DB_NAME', '%s');\ndefine('DB_USER', '%s');\ndefine('DB_PASSWORD', '%s');\n" "$name" "$name" "$password"
	printf "define('DB_HOST', 'localhost');\ndefine('DB_CHARSET', 'utf8mb4');\ndefine('DB_COLLATE', '');\n"
	for key in AUTH_KEY SECURE_AUTH_KEY LOGGED_IN_KEY NONCE_KEY AUTH_SALT SECURE_AUTH_SALT LOGGED_IN_SALT NONCE_SALT; do
		printf "define('%s', '%s');\n" "$key" "$(head -c 36 /dev/urandom | od -An -tx1 | tr -d ' \n')"
	done
	# shellcheck disable=SC2016 # The word with $ is PHP's.
	printf '$table_prefix = "wp_";\ndefine("DISABLE_WP_CRON", true);\ndefined("ABSPATH") || define("ABSPATH", "%s/current/live/");\n' "$folder"
	printf 'require_once ABSPATH . "wp-settings.php";\n'
} >"$first/wp-config.php"
chown -R "$name:" "$first"
cat >"$pool/$name.conf" <<E
[$name]
user = $name
group = $name
listen = /run/php/$name.sock
listen.owner = www-data
listen.group = www-data
pm = ondemand
pm.max_children = 8
php_admin_value[open_basedir] = $folder:/tmp
E
cat >"/etc/nginx/sites-enabled/$name.conf" <<E
server {
	listen 80;
	server_name $host;
	root $folder/current/live;
	index index.php;
	location / { try_files \$uri \$uri/ /index.php?\$args; }
	location ~ \.php\$ {
		include fastcgi_params;
		fastcgi_param SCRIPT_FILENAME \$realpath_root\$fastcgi_script_name;
		fastcgi_pass unix:/run/php/$name.sock;
	}
}
E
printf '%s' "$password" | TERM=dumb runuser -u "$name" -- php -d memory_limit=512M "$wp_cli" --path="$folder/current/live" core install --url="http://$host" \
	--title="$name" --admin_user=admin --admin_email=admin@example.test --skip-email --prompt=admin_password >/dev/null
nginx -t -q
systemctl reload "php$version-fpm" nginx
for _ in $(seq 200); do
	if curl --silent --fail --header "Host: $host" http://127.0.0.1/ | grep -F "$host" >/dev/null; then exit 0; fi
	sleep 0.01
done
echo "the page of $host does not answer" >&2
exit 1
